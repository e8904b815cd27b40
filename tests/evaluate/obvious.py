"""Slow, obvious versions of every metric: one walk down one list, in plain Python."""

import math


def walk(ranked, positives, junk):
    """The list as a judge sees it: True at a right photo seen for the first time, else False."""
    seen, places = set(), []
    for photo in ranked:
        if photo == -1:
            break
        if photo in junk:
            continue
        places.append(photo in positives and photo not in seen)
        seen.add(photo)
    return places


def trapezoid(ranked, positives, junk):
    """Area under precision over recall, place by place, precision 1 before the first place."""
    if not positives:
        return math.nan
    area, found, recall_before, precision_before = 0.0, 0, 0.0, 1.0
    for number, right in enumerate(walk(ranked, positives, junk), start=1):
        found += right
        recall, precision = found / len(positives), found / number
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


def rectangular(ranked, positives, cut):
    if not positives:
        return math.nan
    total, found = 0.0, 0
    for number, right in enumerate(walk(ranked, positives, set())[:cut], start=1):
        if right:
            found += 1
            total += found / number
    return total / min(len(positives), cut)


def revisited_precision(ranked, positives, junk, k):
    """Right ones in the first k places, or up to the last right one if all of them come earlier."""
    if not positives:
        return math.nan
    places = walk(ranked, positives, junk)
    limit = k
    if sum(places) == len(positives):
        last = max(number for number, right in enumerate(places, start=1) if right)
        limit = min(last, k)
    return sum(places[:limit]) / limit


def recall(ranked, positives, junk, k):
    return float(any(walk(ranked, positives, junk)[:k])) if positives else math.nan


def photos_of_four(ranked, positives):
    return sum(walk(ranked[:4], positives, set()))


def gap(predictions, solution, ignore_empty):
    """predictions: [(id, landmark, score)]; solution: {id: set of landmarks}."""
    order = sorted(predictions, key=lambda p: p[1])
    order = sorted(order, key=lambda p: p[0])
    order = sorted(order, key=lambda p: p[2], reverse=True)
    total, right, place, answered = 0.0, 0, 0, set()
    for query, landmark, _ in order:
        if ignore_empty and not solution[query]:
            continue
        place += 1
        if landmark in solution[query] and query not in answered:
            answered.add(query)
            right += 1
            total += right / place
    return total / sum(bool(v) for v in solution.values())


def mean(values):
    counted = [v for v in values if not math.isnan(v)]
    return sum(counted) / len(counted) if counted else math.nan
