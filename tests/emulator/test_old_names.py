"""Names that scikit-learn's modules had: for what was pickled or written before they changed."""

import subprocess
import sys
from pathlib import Path

from emulator.environments.old_names import keep_old_names

OLD = """
import pickle, sys
from sklearn.externals import joblib
from sklearn.linear_model.logistic import LogisticRegression
from sklearn.tree.tree import DecisionTreeClassifier
import joblib as joblib_of_today, sklearn.linear_model, sklearn.tree

assert LogisticRegression is sklearn.linear_model.LogisticRegression
assert DecisionTreeClassifier is sklearn.tree.DecisionTreeClassifier
assert joblib is joblib_of_today and joblib.__spec__.name == "joblib"
name = b"csklearn.linear_model.logistic\\nLogisticRegression\\n."
assert pickle.loads(name) is LogisticRegression
from sklearn.ensemble import GradientBoostingClassifier
boosting = GradientBoostingClassifier.__new__(GradientBoostingClassifier)
boosting.__setstate__({"loss_": "deviance"})
assert boosting._loss == boosting.loss_ == "deviance"
try:
    import sklearn.linear_model.nothing
except ModuleNotFoundError as error:
    print(error.name)
"""


def test_old_names_are_found_where_a_later_version_stands_for_the_pin(tmp_path: Path) -> None:
    (note,) = keep_old_names(tmp_path, ["scikit-learn==0.22.1"], ["scikit-learn==1.1.3"])
    assert note == "What was made with an older scikit-learn finds its modules by their old names."
    start = f"import site; site.addsitedir({str(tmp_path)!r})\n"
    command = [sys.executable, "-c", start + OLD]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "sklearn.linear_model.nothing"


def test_nothing_is_added_where_old_names_are_there_or_not_wanted(tmp_path: Path) -> None:
    assert keep_old_names(tmp_path, ["scikit_learn==0.23.2"], ["scikit-learn==0.23.2"]) == []
    assert keep_old_names(tmp_path, ["scikit-learn==1.1.1"], ["scikit-learn==1.1.3"]) == []
    assert keep_old_names(tmp_path, ["scikit-learn>=0.22"], ["scikit-learn==1.5.0"]) == []
    assert keep_old_names(tmp_path, ["pandas==0.25"], ["pandas==1.5.0"]) == []
    assert list(tmp_path.iterdir()) == []
