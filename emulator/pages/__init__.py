"""The pages of the emulator, for a person with a browser: what there is and what runs."""
