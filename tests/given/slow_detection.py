"""The ActivityNet evaluators' rules, one prediction after the other: what ours must equal.

Truth is rows of (video, name, start_s, end_s); predictions have a score besides. What the
official ones leave to an unstable sort is decided as ours is: equal scores in input order, of
equal tIoUs the later instance. A segment without length overlaps only its equal, where they
divide zero by zero.
"""

import numpy as np


def slow_tious(segment, others):
    starts, ends = np.array(others, dtype=float).T
    overlap = np.clip(np.minimum(segment[1], ends) - np.maximum(segment[0], starts), 0, None)
    union = (ends - starts) + (segment[1] - segment[0]) - overlap
    same = (starts == segment[0]) & (ends == segment[1])
    with np.errstate(invalid="ignore"):
        return np.where(same, 1.0, np.nan_to_num(overlap / union))


def slow_average_precision(truth, predictions, tious):
    """Of one class, at each tIoU."""
    by_video = {}
    for row, (video, _, start_s, end_s) in enumerate(truth):
        by_video.setdefault(video, []).append((row, (start_s, end_s)))
    locked = np.zeros((len(tious), len(truth)), dtype=bool)
    hits = np.zeros((len(tious), len(predictions)))
    order = np.argsort([-row[4] for row in predictions], kind="stable")
    for rank, (video, _, *segment, _) in enumerate(predictions[i] for i in order):
        if video not in by_video:
            continue
        instances, segments = zip(*by_video[video], strict=True)
        overlaps = slow_tious(segment, segments)
        preferred = np.argsort(overlaps, kind="stable")[::-1]
        for t, threshold in enumerate(tious):
            for i in preferred:
                if overlaps[i] < threshold:
                    break
                if not locked[t, instances[i]]:
                    locked[t, instances[i]] = hits[t, rank] = True
                    break
    return [interpolated_precision(row, len(truth)) for row in hits]


def interpolated_precision(hits, num_instances):
    found = np.cumsum(hits)
    precision = np.concatenate([[0.0], found / np.arange(1, len(hits) + 1), [0.0]])
    recall = np.concatenate([[0.0], found / num_instances, [1.0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    rises = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in rises)


def slow_detection(truth, predictions, tious):
    """The AP of each class that has an instance, by name."""
    return {
        name: slow_average_precision(
            [row for row in truth if row[1] == name],
            [row for row in predictions if row[1] == name],
            tious,
        )
        for name in sorted({row[1] for row in truth})
    }


def slow_average_recall(truth, proposals, tious, max_proposals):
    """Proposals per video and recall [tious, 100] of the ActivityNet proposal task."""
    videos = list(dict.fromkeys(row[0] for row in truth))
    proposals = [row for row in proposals if row[0] in videos]
    ratio = max_proposals * len(videos) / len(proposals)
    overlaps, num_retrieved = [], 0
    for video in videos:
        mine = sorted((row for row in proposals if row[0] == video), key=lambda row: -row[4])
        true = [row[2:4] for row in truth if row[0] == video]
        retrieved = mine[: min(int(len(mine) * ratio), len(mine))]
        num_retrieved += len(retrieved)
        columns = [slow_tious(row[2:4], true) for row in retrieved]
        overlaps.append(np.array(columns).reshape(len(columns), len(true)).T)
    shares = np.arange(1, 101) / 100.0 * (max_proposals * len(videos) / num_retrieved)
    recall = np.zeros((len(tious), len(shares)))
    for t, threshold in enumerate(tious):
        for j, share in enumerate(shares):
            for overlap in overlaps:
                num = min(int(overlap.shape[1] * share), overlap.shape[1])
                recall[t, j] += (overlap[:, :num] >= threshold).any(axis=1).sum()
    return shares * (num_retrieved / len(videos)), recall / len(truth)
