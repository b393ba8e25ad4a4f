"""Pairs against R, published examples and scipy."""

from math import ceil, comb, exp, lgamma, log
from statistics import NormalDist

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evals.paired import (
    Pairs,
    detectable_difference,
    loss_gate,
    loss_interval,
    mcnemar_exact,
    newcombe_interval,
    questions_needed,
    tango_interval,
)
from workbench.measure import wilson_interval

COUNTS = st.integers(0, 60)
TABLES = st.builds(Pairs, COUNTS, COUNTS, COUNTS, COUNTS)

# R 4.2.2: binom.test(lost, lost + gained)$p.value
MCNEMAR_IN_R = [
    (0, 1, 1.0),
    (1, 0, 1.0),
    (6, 16, 0.0524787902832),  # contingencytables, McNemar_exact_cond_test_paired_2x2: 0.052479
    (16, 6, 0.0524787902832),
    (0, 6, 0.03125),
    (5, 5, 1.0),
    (1, 10, 0.01171875),
    (43, 67, 0.0278508881257),
    (150, 90, 0.000129876675408),
    (400, 300, 0.000178476314486),
]

# R 4.2.2, the published formula with psi as in CRAN's contingencytables; (both, gained, lost, neither).
NEWCOMBE_IN_R = [
    ((20, 12, 2, 16), 0.90, (0.0790093527, 0.3104620561)),
    ((20, 12, 2, 16), 0.95, (0.0561564248, 0.3292069954)),
    ((20, 12, 2, 16), 0.99, (0.0127669978, 0.3631887466)),
    ((36, 0, 0, 14), 0.90, (-0.0392022741, 0.0392022741)),
    ((36, 0, 0, 14), 0.95, (-0.0491168901, 0.0491168901)),
    ((36, 0, 0, 14), 0.99, (-0.0707115750, 0.0707115750)),
    ((59, 6, 16, 80), 0.90, (-0.1097448429, -0.0137859908)),
    ((59, 6, 16, 80), 0.95, (-0.1186211956, -0.0046251139)),
    ((59, 6, 16, 80), 0.99, (-0.1356385064, 0.0130765512)),
    ((1, 1, 7, 12), 0.90, (-0.4747983221, -0.0688700348)),
    ((1, 1, 7, 12), 0.95, (-0.5069202267, -0.0255591242)),
    ((1, 1, 7, 12), 0.99, (-0.5646264986, 0.0576047969)),
    ((300, 5, 9, 22), 0.90, (-0.0322829347, 0.0076635392)),
    ((300, 5, 9, 22), 0.95, (-0.0367523830, 0.0118305581)),
    ((300, 5, 9, 22), 0.99, (-0.0462204311, 0.0206322955)),
    ((0, 0, 0, 10), 0.95, (-0.2775327999, 0.2775327999)),
    ((10, 0, 0, 0), 0.95, (-0.2775327999, 0.2775327999)),
    ((0, 1, 0, 0), 0.95, (-0.1221087207, 1.0)),
    ((0, 0, 1, 0), 0.99, (-1.0, 0.2289833443)),
    ((36, 12, 2, 0), 0.95, (0.0569295840, 0.3404276030)),
    ((18, 14, 0, 18), 0.95, (0.1440826162, 0.3963252817)),
    ((0, 20, 30, 0), 0.90, (-0.4119613138, 0.0324945881)),
    ((0, 20, 30, 0), 0.95, (-0.4478322054, 0.0763712450)),
]

# What others print of method 10: Newcombe (1998), Fagerland et al. (2014), R packages ratesci and contingencytables.
PUBLISHED = [
    ((20, 12, 2, 16), (0.0562, 0.3292), 4),
    ((59, 6, 16, 80), (-0.1186, -0.0046), 4),
    ((1, 1, 7, 12), (-0.507, -0.026), 3),
    ((8, 3, 1, 2), (-0.1574, 0.4136), 4),
    ((7, 25, 2, 68), (0.133, 0.318), 3),
]

# R 4.2.2: the constrained likelihood maximised by optimize(), the bound found by uniroot(); no closed form.
TANGO_IN_R = [
    ((59, 6, 16, 80), 0.90, (-0.1131261, -0.0150584)),
    ((59, 6, 16, 80), 0.95, (-0.1240234, -0.0054334)),
    ((59, 6, 16, 80), 0.99, (-0.1465047, 0.0147050)),
    ((4, 9, 3, 16), 0.90, (0.0101901, 0.3574451)),
    ((4, 9, 3, 16), 0.99, (-0.1030647, 0.4511190)),
    ((300, 5, 9, 22), 0.90, (-0.0324922, 0.0070185)),
    ((300, 5, 9, 22), 0.95, (-0.0372349, 0.0112342)),
    ((900, 3, 2, 95), 0.90, (-0.0033706, 0.0057158)),
    ((900, 3, 2, 95), 0.99, (-0.0074376, 0.0099905)),
    ((43, 1, 1, 0), 0.95, (-0.0969885, 0.0969885)),
]

# Tango (1998), Agresti and Min (2005), Fagerland et al. (2014), Tang et al. (2010), as R's ratesci and
# contingencytables print them.
TANGO_PUBLISHED = [
    ((4, 9, 3, 16), 0.95, (-0.027, 0.390), 3),
    ((43, 0, 1, 0), 0.90, (-0.096, 0.037), 3),
    ((53, 16, 8, 9), 0.95, (-0.020, 0.207), 3),
    ((1, 1, 7, 12), 0.95, (-0.517, -0.026), 3),
    ((8, 3, 1, 2), 0.95, (-0.1670, 0.4327), 4),
    ((7, 25, 2, 68), 0.95, (0.139, 0.321), 3),
    ((59, 6, 16, 80), 0.95, (-0.1240, -0.0054), 4),
]

# R 4.2.2: prop.test(correct, total, correct = FALSE)$conf.int
WILSON_IN_R = [
    (15, 148, (0.0623863995307, 0.160487241723)),
    (0, 20, (0.0, 0.161125158053)),
    (1, 29, (0.00611321429276, 0.171755218793)),
    (90, 100, (0.825634338495, 0.944770862939)),
    (20, 20, (0.838874841947, 1.0)),
    (0, 1, (0.0, 0.793450685623)),
    (1, 1, (0.206549314377, 1.0)),
    (329, 336, (0.957628161349, 0.989872479442)),
]


@pytest.mark.parametrize(("lost", "gained", "p"), MCNEMAR_IN_R)
def test_mcnemar_as_in_r(lost, gained, p):
    assert mcnemar_exact(lost, gained) == pytest.approx(p, rel=1e-11)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_as_in_scipy(lost, gained):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar_exact(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_without_a_flip_and_with_a_great_many():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5000, 5000) == 1.0
    assert 0 <= mcnemar_exact(0, 5000) < 1e-300


@pytest.mark.parametrize(("cells", "confidence", "interval"), NEWCOMBE_IN_R)
def test_newcombe_as_in_r(cells, confidence, interval):
    both, gained, lost, neither = cells
    assert newcombe_interval(both, lost, gained, neither, confidence) == pytest.approx(interval, abs=2e-10)


@pytest.mark.parametrize(("cells", "interval", "digits"), PUBLISHED)
def test_newcombe_as_published(cells, interval, digits):
    both, gained, lost, neither = cells
    found = newcombe_interval(both, lost, gained, neither)
    assert tuple(round(limit, digits) for limit in found) == interval


@pytest.mark.parametrize(("cells", "confidence", "interval"), TANGO_IN_R)
def test_tango_as_in_r(cells, confidence, interval):
    both, gained, lost, neither = cells
    assert tango_interval(both, lost, gained, neither, confidence) == pytest.approx(interval, abs=6e-8)


@pytest.mark.parametrize(("cells", "confidence", "interval", "digits"), TANGO_PUBLISHED)
def test_tango_as_published(cells, confidence, interval, digits):
    both, gained, lost, neither = cells
    found = tango_interval(both, lost, gained, neither, confidence)
    assert tuple(round(limit, digits) for limit in found) == interval


@given(st.integers(1, 2000), st.sampled_from([0.8, 0.95, 0.99]))
def test_tango_without_a_flip(total, confidence):
    """The statistic is then the square root of n d / (1 - d): a bound in closed form."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    bound = z * z / (total + z * z)
    assert tango_interval(total, 0, 0, 0, confidence) == pytest.approx((-bound, bound))


@pytest.mark.parametrize(("lost", "gained"), [(1, 0), (5, 0), (40, 0), (0, 7)])
def test_tango_where_all_flip_one_way(lost, gained):
    low, high = tango_interval(0, lost, gained, 0)
    assert (low if lost else high) == (-1.0 if lost else 1.0)
    assert abs(high if lost else low) < 1


def in_fifty_digits(pairs, confidence):
    """Method 10 again, from the paper's formulas: Wilson's limits as the roots of the score equation."""
    mpmath.mp.dps = 50
    n, z = mpmath.mpf(pairs.total), mpmath.sqrt(2) * mpmath.erfinv(mpmath.mpf(confidence))

    def limits(count):
        roots = mpmath.polyroots(
            [n + z**2, -(2 * count + z**2), mpmath.mpf(count) ** 2 / n], maxsteps=500, extraprec=400
        )
        return sorted(mpmath.re(root) for root in roots)

    margins = [
        (pairs.both + pairs.gained, pairs.lost + pairs.neither),
        (pairs.both + pairs.lost, pairs.gained + pairs.neither),
    ]
    product = mpmath.mpf(pairs.both * pairs.neither - pairs.lost * pairs.gained)
    corrected = max(product - n / 2, 0) if product > 0 else product
    scale = mpmath.sqrt(mpmath.fprod([*margins[0], *margins[1]]))
    phi = corrected / scale if scale else mpmath.mpf(0)
    (low, high), (base_low, base_high) = limits(margins[0][0]), limits(margins[1][0])
    share, base = margins[0][0] / n, margins[1][0] / n
    down = (share - low) ** 2 - 2 * phi * (share - low) * (base_high - base) + (base_high - base) ** 2
    up = (high - share) ** 2 - 2 * phi * (high - share) * (base - base_low) + (base - base_low) ** 2
    return [float(share - base - mpmath.sqrt(abs(down))), float(share - base + mpmath.sqrt(abs(up)))]


@given(TABLES.filter(lambda pairs: pairs.total > 0), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999]))
def test_newcombe_in_fifty_digits(pairs, confidence):
    assert newcombe_interval(*pairs, confidence=confidence) == pytest.approx(
        in_fifty_digits(pairs, confidence), abs=1e-7
    )


@pytest.mark.parametrize("interval", [newcombe_interval, tango_interval])
@given(pairs=TABLES)
def test_intervals_hold_the_difference_and_mirror(interval, pairs):
    low, high = interval(*pairs)
    assert -1 <= low <= pairs.difference + 1e-12
    assert pairs.difference - 1e-12 <= high <= 1
    both, lost, gained, neither = pairs
    assert interval(both, gained, lost, neither) == pytest.approx((-high, -low))


@pytest.mark.parametrize("interval", [newcombe_interval, tango_interval])
@given(pairs=TABLES)
def test_more_confidence_never_narrows(interval, pairs):
    narrow, wide = (interval(*pairs, confidence=share) for share in (0.9, 0.99))
    assert wide[0] <= narrow[0] + 1e-12
    assert narrow[1] <= wide[1] + 1e-12


def test_nothing_asked_says_nothing():
    assert newcombe_interval(0, 0, 0, 0) == tango_interval(0, 0, 0, 0) == (-1.0, 1.0)
    assert loss_gate(Pairs(0, 0, 0, 0), 0.02) == "not enough questions"
    assert detectable_difference(0, 0.0) == 1.0


@pytest.mark.parametrize(("correct", "total", "interval"), WILSON_IN_R)
def test_wilson_as_in_r(correct, total, interval):
    assert wilson_interval(correct, total) == pytest.approx(interval, abs=1e-12)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_as_in_scipy(total, data, confidence):
    stats = pytest.importorskip("scipy.stats")
    correct = data.draw(st.integers(0, total))
    expected = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    assert wilson_interval(correct, total, z) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_what_a_number_of_questions_can_show():
    assert detectable_difference(175, 0.06) == pytest.approx(0.052, abs=5e-4)
    assert detectable_difference(464, 0.06) == pytest.approx(0.032, abs=5e-4)


def test_a_difference_is_never_larger_than_the_flips_that_make_it():
    """Without a flip seen, 100 questions still do not show a difference of one."""
    assert detectable_difference(100, 0.0) == pytest.approx(0.0785, abs=1e-4)  # 2.8016 squared, of 100
    assert detectable_difference(3, 0.5) == 1.0


def nam_1997(discordance, max_loss, confidence=0.95, power=0.8):
    """Sample size of the score test by its asymptotic variances (Biometrics 53, 1422), written down on its own."""
    one_way = discordance / 2
    a, b, c = 2, 2 * max_loss - discordance, -one_way * max_loss * (1 - max_loss)
    likeliest = ((b * b - 4 * a * c) ** 0.5 - b) / (2 * a)
    at_the_limit = (2 * likeliest + max_loss - max_loss**2) ** 0.5
    z_gate, z_power = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    return ((z_gate * at_the_limit + z_power * discordance**0.5) / max_loss) ** 2


def test_what_it_takes_to_prove_a_loss_of_two_points():
    """About a thousand questions at 6% of answers flipping."""
    assert questions_needed(0.06, 0.02) == 964
    assert nam_1997(0.06, 0.02) == pytest.approx(981, abs=1)
    assert questions_needed(0.06, 0.02, confidence=0.975) == 1229  # the two-sided 95% interval's


@pytest.mark.parametrize("max_loss", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("discordance", [0.01, 0.03, 0.06, 0.14])
def test_numbers_of_questions_are_near_the_published_formula(discordance, max_loss):
    assert questions_needed(discordance, max_loss) == pytest.approx(nam_1997(discordance, max_loss), rel=0.15)


def test_without_flips_it_takes_what_the_bound_in_closed_form_does():
    assert questions_needed(0.0, 0.02) == ceil(1.6448536**2 * (1 - 0.02) / 0.02)


def test_what_was_lost_so_far_must_be_outweighed():
    """Twenty answers lost in a thousand are two points, just what is accepted."""
    lost, even, gained = Pairs(900, 42, 22, 36), Pairs(900, 32, 32, 36), Pairs(900, 30, 34, 36)
    needed = [questions_needed(0.064, 0.02, seen=seen) for seen in (lost, even, gained)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > 2000


@given(TABLES, st.sampled_from([0.01, 0.02, 0.05]))
def test_more_are_needed_only_where_the_gate_cannot_tell(pairs, max_loss):
    if loss_gate(pairs, max_loss) == "not enough questions":
        discordance = (pairs.lost + pairs.gained + 1) / (pairs.total + 2)
        assert questions_needed(discordance, max_loss, seen=pairs) > pairs.total


def share_of(count, successes, probability):
    if probability in (0, 1):
        return float(successes == count * probability)
    ways = lgamma(count + 1) - lgamma(successes + 1) - lgamma(count - successes + 1)
    return exp(ways + successes * log(probability) + (count - successes) * log(1 - probability))


def chance_of_proof(questions, discordance, loss, max_loss, confidence):
    """Probability, over all tables, that the gate says proved; half of what does not flip is right."""
    chance = 0.0
    for flips in range(questions + 1):
        of_flips = share_of(questions, flips, discordance)
        if of_flips < 1e-7:
            continue
        both = (questions - flips) // 2
        for lost in range(flips + 1):
            weight = of_flips * share_of(flips, lost, (discordance + loss) / (2 * discordance))
            pairs = Pairs(both, lost, flips - lost, questions - flips - both)
            if weight > 1e-9 and loss_gate(pairs, max_loss, confidence) == "proved":
                chance += weight
    return chance


@pytest.mark.parametrize(
    ("discordance", "max_loss", "confidence"),
    [(0.06, 0.02, 0.95), (0.06, 0.02, 0.99), (0.01, 0.02, 0.95), (0.024, 0.05, 0.95), (0.14, 0.05, 0.9)],
)
def test_so_many_questions_prove_it_in_four_runs_of_five(discordance, max_loss, confidence):
    needed = questions_needed(discordance, max_loss, confidence)
    assert chance_of_proof(needed, discordance, 0.0, max_loss, confidence) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("questions", [100, 200, 336, 600])
@pytest.mark.parametrize(("discordance", "loss"), [(0.02, 0.02), (0.06, 0.02), (0.01, 0.01), (0.075, 0.05)])
def test_a_loss_at_the_limit_is_proved_to_be_within_it_as_seldom_as_promised(questions, discordance, loss):
    """Also where nearly all flips are losses, as of an artifact that only does harm."""
    assert chance_of_proof(questions, discordance, loss, loss, 0.95) < 0.062


def test_the_gate_has_three_answers():
    same, worse, few = Pairs(2000, 0, 0, 0), Pairs(900, 100, 0, 0), Pairs(19, 1, 0, 0)
    assert [loss_gate(each, 0.02) for each in (same, worse, few)] == ["proved", "refuted", "not enough questions"]


def test_the_gate_is_one_sided():
    """Both bounds of a confidence of 95% are those of a two-sided 90% interval, which R gives above."""
    assert loss_interval(Pairs(59, 16, 6, 80)) == pytest.approx((0.0150584, 0.1131261), abs=6e-8)
    assert loss_gate(Pairs(59, 16, 6, 80), 0.0150) == "refuted"
    assert loss_gate(Pairs(59, 16, 6, 80), 0.1132) == "proved"


@given(TABLES, st.floats(0.001, 0.5), st.floats(0.6, 0.99))
def test_a_wider_limit_never_turns_proof_into_doubt(pairs, max_loss, confidence):
    if loss_gate(pairs, max_loss, confidence) == "proved":
        assert loss_gate(pairs, max_loss + 0.1, confidence) == "proved"


@given(st.integers(0, 14), st.integers(0, 14))
def test_mcnemar_is_the_two_sided_binomial_test(lost, gained):
    """The share of all equally likely splits that are at least as uneven as this one."""
    total = lost + gained
    uneven = [count for count in range(total + 1) if abs(2 * count - total) >= abs(lost - gained)]
    assert mcnemar_exact(lost, gained) == pytest.approx(sum(comb(total, count) for count in uneven) / 2**total)
