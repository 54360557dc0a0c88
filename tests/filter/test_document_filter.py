"""The learned combination against a general optimiser; the document filter on documents it has not seen."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from nbkit.filter import scorer
from nbkit.filter.document_filter import FEATURES, Combination, DocumentFilter, features
from nbkit.tasks import world


def minimised(X_DK, y_D, share_D, shrink, intercept):
    """The documented objective, by L-BFGS-B from the definition: weights per standard deviation, offset."""
    X_DK = X_DK - share_D @ X_DK * intercept
    y_D = y_D - share_D @ y_D * intercept
    Z_DK = X_DK / np.sqrt(share_D @ X_DK**2)
    root_D = np.sqrt(share_D)
    multiple = np.linalg.lstsq((root_D * Z_DK.sum(axis=1))[:, None], root_D * y_D)[0][0]
    equal = max(multiple, 0.0)

    def objective(w):
        rest_D = Z_DK @ w - y_D
        value = share_D @ rest_D**2 + shrink * ((w - equal) ** 2).sum()
        return value, 2 * (share_D * rest_D) @ Z_DK + 2 * shrink * (w - equal)

    n = X_DK.shape[1]
    found = minimize(
        objective, np.full(n, 0.1), jac=True, bounds=[(0, None)] * n, options={"ftol": 1e-15, "gtol": 1e-10}
    )
    return found.x, objective


def sample(seed: int, n: int = 120, k: int = 6):
    """Correlated features, of which some count for the label, some against it and some not at all."""
    rng = np.random.default_rng(seed)
    X_DK = rng.normal(5, 2, (n, k)) + rng.normal(0, 2, (n, 1))
    y_D = np.clip(X_DK @ np.array([0.6, 0.3, -0.4, 0, 0, 0.1])[:k] + rng.normal(0, 1, n), 0, 9)
    return X_DK, y_D, rng.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1])


@pytest.mark.parametrize("shrink", [0.0, 0.01, 0.3, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_fit_solves_the_documented_problem(seed, shrink):
    X_DK, y_D, source_D = sample(seed)
    counts = {source: (source_D == source).sum() for source in "abc"}
    share_D = np.array([1 / counts[source] / 3 for source in source_D])
    fitted = Combination.fit(X_DK, y_D, source_D, shrink)
    deviation_K = np.sqrt(share_D @ (X_DK - share_D @ X_DK) ** 2)
    wanted_K, objective = minimised(X_DK, y_D, share_D, shrink, intercept=True)
    assert fitted.weight_K * deviation_K == pytest.approx(wanted_K, abs=1e-4)
    assert objective(fitted.weight_K * deviation_K)[0] <= objective(wanted_K)[0] + 1e-9
    # The offset is free: the mean error of the fit is 0.
    assert share_D @ (y_D - fitted(X_DK)) == pytest.approx(0, abs=1e-9)
    if not shrink:
        assert fitted.weight_K[2] == 0 and fitted.weight_K[0] > 0, "a feature that counts against is dropped"


def test_fit_equals_the_closed_form_where_no_weight_is_held_at_0():
    rng = np.random.default_rng(5)
    X_DK = rng.normal(0, 2, (200, 4))
    y_D = X_DK @ [1.0, 2.0, 0.5, 1.0] + rng.normal(0, 1, 200)
    Z_DK = (X_DK - X_DK.mean(0)) / X_DK.std(0)
    centred_D = y_D - y_D.mean()
    equal = (Z_DK.sum(1) @ centred_D) / (Z_DK.sum(1) ** 2).sum()
    left = Z_DK.T @ Z_DK / 200 + 0.3 * np.eye(4)
    wanted_K = np.linalg.solve(left, Z_DK.T @ centred_D / 200 + 0.3 * equal)
    assert Combination.fit(X_DK, y_D, shrink=0.3).weight_K == pytest.approx(wanted_K / X_DK.std(0))


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0, 100), st.integers(1, 6), st.integers(2, 40))
def test_weights_are_finite_and_never_negative(seed, shrink, k, n):
    rng = np.random.default_rng(seed)
    X_DK, y_D = rng.integers(0, 10, (n, k)), np.append(rng.integers(0, 10, n - 2), [0, 9])
    X_DK[:, 0] = 4  # constant
    weight_K = Combination.fit(X_DK, y_D, shrink=shrink).weight_K
    assert (weight_K >= 0).all() and np.isfinite(weight_K).all()


def test_much_shrinking_gives_equal_weights_per_standard_deviation():
    X_DK, y_D, _ = sample(0)
    per_deviation_K = Combination.fit(X_DK, y_D, shrink=1e9).weight_K * X_DK.std(axis=0)
    assert per_deviation_K == pytest.approx(np.full(6, per_deviation_K[0]), rel=1e-6)
    assert per_deviation_K[0] > 0


def test_labels_against_every_feature_give_no_weight_at_all():
    X_DK, _, _ = sample(0)
    fitted = Combination.fit(X_DK, -X_DK.sum(axis=1))
    assert np.array_equal(fitted.weight_K, np.zeros(6))
    assert len(set(fitted(X_DK))) == 1, "and so every document ties"


def test_a_feature_that_hardly_varies_gets_no_huge_weight():
    rng = np.random.default_rng(0)
    X_DK = np.column_stack([rng.normal(5, 2, 200), np.full(200, 9.0)])
    X_DK[:2, 1] = 8.9
    y_D = X_DK[:, 0] + 50 * (X_DK[:, 1] - 9)
    weight_K = Combination.fit(X_DK, y_D).weight_K
    assert weight_K[1] < 10, "the two rows alone say 50"


def test_every_source_counts_the_same():
    X_DK, y_D, source_D = sample(1)
    once = Combination.fit(X_DK, y_D, source_D)
    rows = np.concatenate([np.arange(len(y_D)), *[np.flatnonzero(source_D == "c")] * 9])
    again = Combination.fit(X_DK[rows], y_D[rows], source_D[rows])
    assert again.weight_K == pytest.approx(once.weight_K, abs=1e-9)
    assert again(X_DK) == pytest.approx(once(X_DK), abs=1e-9)
    without = Combination.fit(X_DK[rows], y_D[rows])
    assert without.weight_K != pytest.approx(once.weight_K, abs=1e-3), "unless sources are not given"


def test_order_of_rows_and_of_features_does_not_matter():
    X_DK, y_D, source_D = sample(2)
    once = Combination.fit(X_DK, y_D, source_D)
    rows, columns = np.random.default_rng(0).permutation(len(y_D)), np.array([3, 0, 5, 1, 4, 2])
    again = Combination.fit(X_DK[rows][:, columns], y_D[rows], source_D[rows])
    assert again.weight_K == pytest.approx(once.weight_K[columns], abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 11, 13, 49])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.3, 7.0])
def test_constant_labels_are_refused(n, value):
    with pytest.raises(ValueError, match="all labels are equal"):
        Combination.fit(np.random.default_rng(0).random((n, 3)), [value] * n)


def test_bad_samples_are_refused():
    X_DK, y_D, source_D = sample(0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN"):
            Combination.fit(np.where(X_DK[3, 2] == X_DK, bad, X_DK), y_D)
        with pytest.raises(ValueError, match="NaN"):
            Combination.fit(X_DK, [bad, *y_D[1:]])
    for X, y in ((X_DK, y_D[1:]), (X_DK[0], y_D[:6]), (X_DK[:0], [])):
        with pytest.raises(ValueError, match="want one label per document"):
            Combination.fit(X, y)
    with pytest.raises(ValueError):
        Combination.fit(X_DK, y_D, source_D[1:])
    with pytest.raises(ValueError, match="at least one"):
        Combination.fit_pairs(X_DK[:0], X_DK[:0], [])


def pairs(seed: int, n: int = 150):
    """Pairs that differ in five features; the second decides every one, the third is always against."""
    rng = np.random.default_rng(seed)
    worse_PK = rng.integers(2, 8, (n, 5)).astype(float)
    better_PK = worse_PK + rng.normal(0, 1, (n, 5))
    better_PK[:, 1], better_PK[:, 2] = worse_PK[:, 1] + 1, worse_PK[:, 2] - rng.random(n)
    return better_PK, worse_PK, rng.choice(["x", "y"], n, p=[0.8, 0.2])


@pytest.mark.parametrize("shrink", [0.01, 0.3])
def test_fit_pairs_solves_the_documented_problem(shrink):
    better_PK, worse_PK, group_P = pairs(0)
    counts = {group: (group_P == group).sum() for group in "xy"}
    share_P = np.array([1 / counts[group] / 2 for group in group_P])
    fitted = Combination.fit_pairs(better_PK, worse_PK, group_P, shrink)
    difference_PK = better_PK - worse_PK
    scale_K = np.sqrt(share_P @ difference_PK**2)
    wanted_K, _ = minimised(difference_PK, np.ones(len(group_P)), share_P, shrink, intercept=False)
    assert fitted.weight_K * scale_K == pytest.approx(wanted_K, abs=1e-4)
    assert fitted.weight_K.argmax() == 1 and fitted.weight_K[2] == 0
    assert (fitted(better_PK) > fitted(worse_PK)).mean() > 0.95


def test_swapped_pairs_reverse_what_counts():
    better_PK, worse_PK, group_P = pairs(0)
    swapped = Combination.fit_pairs(worse_PK, better_PK, group_P)
    assert swapped.weight_K[1] == 0 and swapped.weight_K[2] > 0
    only = np.array([0, 1])  # with no feature left that favours the other text, none gets a weight
    assert not Combination.fit_pairs(worse_PK[:, only] - 1, better_PK[:, only] + 1, group_P).weight_K.any()


def test_every_group_of_pairs_counts_the_same():
    better_PK, worse_PK, group_P = pairs(1)
    once = Combination.fit_pairs(better_PK, worse_PK, group_P)
    rows = np.concatenate([np.arange(150), *[np.flatnonzero(group_P == "y")] * 5])
    again = Combination.fit_pairs(better_PK[rows], worse_PK[rows], group_P[rows])
    assert again.weight_K == pytest.approx(once.weight_K, abs=1e-9)


@pytest.fixture(scope="module")
def docs():
    fit, test = world.corpus(400, seed=1), world.corpus(300, seed=2)
    known = {doc["text"] for doc in fit}
    return fit, [doc for doc in test if doc["text"] not in known]


def fit_filter(docs, **options):
    texts = [doc["text"] for doc in docs]
    return DocumentFilter.fit(texts, [scorer.annotate(text) for text in texts], world.seeds(40, 3), **options)


@pytest.fixture(scope="module")
def fitted(docs):
    return fit_filter(docs[0])


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("tier", ["chatter", "boilerplate", "bare"])
def test_without_labels_seeds_alone_tell_clean_from_the_rest(fitted, docs, tier):
    part = [doc for doc in docs[1] if doc["truth_tier"] in ("clean", tier)]
    score_D = fitted.score([doc["text"] for doc in part])["score"]
    is_clean_D = [doc["truth_tier"] == "clean" for doc in part]
    assert roc_auc_score(is_clean_D, score_D) > 0.9  # measured 1.00, 1.00 and 0.97


def test_score_is_a_function_of_each_text(fitted, docs):
    texts = [doc["text"] for doc in docs[1]][:300] + ["", "\ud800 漢字", "long " * 10_000]
    together = fitted.score(texts)
    assert together["dimensions"].shape == (len(texts), 20)
    assert together["score"].shape == together["similarity"].shape == (len(texts),)
    assert all(np.isfinite(part).all() for part in together.values())
    assert together["similarity"].min() >= 0 and together["similarity"].max() <= 1
    for size in (1, 7):
        for start in range(0, len(texts), 13 * size):  # to the last bit, or shards would differ
            alone = fitted.score(texts[start : start + size])
            assert equal(alone, {key: part[start : start + size] for key, part in together.items()})
    scored = fitted.combination(features(together["dimensions"], together["similarity"]))
    assert np.array_equal(scored, together["score"])


def test_no_texts(fitted):
    nothing = fitted.score([])
    assert nothing["dimensions"].shape == (0, 20)
    assert nothing["score"].shape == nothing["similarity"].shape == (0,)


def test_only_the_beginning_of_a_document_is_scored(fitted):
    beginning = "Question: What is 2 + 3? Solution: 2 + 3 = 5. " * 500
    assert len(beginning) > scorer.MAX_CHARS
    assert equal(fitted.score([beginning]), fitted.score([beginning + "lol omg " * 100_000]))


def test_saved_filter_is_the_same(fitted, docs, tmp_path):
    fitted.save(tmp_path / "filter")
    texts = [doc["text"] for doc in docs[1]][:40]
    assert equal(DocumentFilter.load(tmp_path / "filter").score(texts), fitted.score(texts))
    stored = json.loads((tmp_path / "filter" / "combination.json").read_text())
    assert tuple(stored["weights"]) == FEATURES, "weights are stored by name, for readers"


@pytest.mark.parametrize("damage", ["cut", "absent"])
@pytest.mark.parametrize("part", ["combination.json", "scorer.npz", "index"])
def test_damaged_folder_is_refused(fitted, tmp_path, part, damage):
    folder = tmp_path / "filter"
    fitted.save(folder)
    for file in [path for path in sorted(folder.rglob("*")) if path.is_file() and part in str(path)]:
        data = file.read_bytes()
        file.unlink() if damage == "absent" else file.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="again"):
            DocumentFilter.load(folder)
        file.write_bytes(data)
    DocumentFilter.load(folder)


def test_filter_of_other_dimensions_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "combination.json"
    path.write_text(path.read_text().replace(scorer.NAMES[0], "sparkle"))
    with pytest.raises(ValueError, match="no complete document filter"):
        DocumentFilter.load(tmp_path)
    with pytest.raises(ValueError, match="no complete document filter"):
        DocumentFilter.load(tmp_path / "nowhere")


def test_documents_without_a_label_do_not_move_the_weights(docs):
    tier_D = np.array([9.0 if doc["truth_tier"] == "clean" else 1.0 for doc in docs[0]])
    source_D = np.array(["a" if i % 3 else "b" for i in range(len(tier_D))])
    label_D = np.where(np.arange(len(tier_D)) < 300, tier_D, np.nan)
    fitted = fit_filter(docs[0], label_D=label_D, source_D=source_D)
    rows_DK = features(
        *(fitted.score([d["text"] for d in docs[0][:300]])[k] for k in ("dimensions", "similarity"))
    )
    alone = Combination.fit(rows_DK, tier_D[:300], source_D[:300])
    assert np.array_equal(fitted.combination.weight_K, alone.weight_K)
