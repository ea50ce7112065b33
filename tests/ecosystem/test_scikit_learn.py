"""scikit-learn, through joblib: the same scores as without, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")


def test_grid_search(where: dict[str, Any]) -> None:
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    import achilles.joblib  # noqa: F401 - what a user writes

    samples, kinds = load_iris(return_X_y=True)
    grid = {"max_depth": [1, 2, 4], "min_samples_leaf": [1, 5]}

    def search(n_jobs: int) -> Any:
        return GridSearchCV(DecisionTreeClassifier(random_state=7), grid, cv=4, n_jobs=n_jobs).fit(
            samples, kinds
        )

    serial = search(1)
    with joblib.parallel_config(backend="achilles", **where):
        ours = search(-1)
    assert ours.best_params_ == serial.best_params_
    for key in serial.cv_results_:
        if "time" not in key:
            assert list(ours.cv_results_[key]) == list(serial.cv_results_[key]), key


def test_forest_fits_and_predicts(where: dict[str, Any]) -> None:
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import RandomForestRegressor

    import achilles.joblib  # noqa: F401 - what a user writes

    samples, values = load_diabetes(return_X_y=True)
    serial = RandomForestRegressor(12, random_state=7).fit(samples, values)
    with joblib.parallel_config(backend="achilles", **where):
        # It prefers threads for fitting, and insists on them for predicting.
        ours = RandomForestRegressor(12, random_state=7, n_jobs=-1).fit(samples, values)
        assert list(ours.predict(samples)) == list(serial.predict(samples))
