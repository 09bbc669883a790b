"""Schedules that fire: when they are due, and the jobs that they start."""
