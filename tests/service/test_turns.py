import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.index.exact import ExactIndex
from meisho.service.turns import MOST_TOGETHER, TogetherIndex, Turns, lent
from processes import wait_until
from service.servers import json_of, scene, serving

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.standard_normal((500, 16)).astype(np.float32)
QUERIES = GENERATOR.standard_normal((3 * MOST_TOGETHER, 16)).astype(np.float32)


class Counting:
    """An exact index that knows how many queries came at once."""

    def __init__(self, is_exact=True):
        self.index = ExactIndex.build(VECTORS)
        self.is_exact, self.calls = is_exact, []
        self.leader = None

    def search(self, queries, top):
        self.leader = threading.get_ident()
        self.calls.append(len(queries))
        return self.index.search(queries, top)


class Round:
    """Questions of which the first holds the only turn until all others wait for it."""

    def __init__(self, number, ask, turns=None):
        self.turns, self.answers = turns or Turns(1), {}
        begun, go_on = threading.Event(), threading.Event()

        def first():
            with self.turns.taken():
                begun.set()
                go_on.wait()
                self.answers[0] = ask(0)

        def other(number):
            with self.turns.taken():
                self.answers[number] = ask(number)

        threads = [threading.Thread(target=first)]
        threads[0].start()
        begun.wait()
        threads += [threading.Thread(target=other, args=(each,)) for each in range(1, number)]
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: self.turns.num_waiting == number - 1)
        go_on.set()
        for thread in threads:
            thread.join()


def jpeg(seed):
    data = io.BytesIO()
    scene(seed).save(data, "JPEG")
    return data.getvalue()


def check(answer, number, top=5):
    rows, scores = ExactIndex.build(VECTORS).search(QUERIES[[number]], top)
    np.testing.assert_array_equal(answer[0], rows)
    np.testing.assert_array_equal(answer[1], scores)


@pytest.mark.parametrize(
    ("number", "calls"),
    [
        (1, [1]),
        (5, [5]),
        (MOST_TOGETHER, [MOST_TOGETHER]),
        (MOST_TOGETHER + 3, [MOST_TOGETHER, 3]),
    ],
)
def test_questions_that_wait_are_searched_together_and_each_gets_its_own_answer(number, calls):
    counting = Counting()
    found = Round(number, lambda each: TogetherIndex(counting).search(QUERIES[[each]], 5))
    assert counting.calls == calls
    for each in range(number):
        check(found.answers[each], each)


def test_indexes_and_depths_are_not_mixed():
    several = [Counting(), Counting()]
    found = Round(8, lambda each: TogetherIndex(several[each % 2]).search(QUERIES[[each]], 5 + each // 4))
    assert [sorted(counting.calls) for counting in several] == [[2, 2], [2, 2]]
    for each in range(8):
        check(found.answers[each], each, 5 + each // 4)


def test_an_approximate_index_is_asked_by_each_alone():
    counting = Counting(is_exact=False)
    Round(4, lambda each: TogetherIndex(counting).search(QUERIES[[each]], 5))
    assert counting.calls == [1] * 4


def test_a_query_that_cannot_be_asked_fails_alone():
    def ask(number):
        query = QUERIES[[number]] * (np.nan if number == 2 else 1)
        try:
            return TogetherIndex(Counting.shared).search(query, 5)
        except InputError as error:
            return error

    Counting.shared = Counting()
    found = Round(4, ask)
    assert Counting.shared.calls[0] == 4
    assert "1 of 1 query descriptors hold NaN" in str(found.answers[2])
    for each in (0, 1, 3):
        check(found.answers[each], each)


def test_who_waits_to_search_goes_on_where_the_others_do_not_search():
    counting = Counting()
    found = Round(3, lambda each: each or TogetherIndex(counting).search(QUERIES[[each]], 5))
    assert counting.calls == [1]
    check(found.answers[0], 0)


def test_those_that_were_searched_for_end_one_by_one_beside_the_turns():
    counting, ending, most, over = Counting(), [], [], threading.Event()

    def ask(number):
        found = TogetherIndex(counting).search(QUERIES[[number]], 5)
        if threading.get_ident() == counting.leader:
            over.wait()  # it holds the only turn until all others have ended
            return found
        ending.append(number)
        most.append(len(ending))
        ending.remove(number)
        if len(most) == 4:
            over.set()
        return found

    found = Round(5, ask)
    assert counting.calls == [5]
    assert most == [1] * 4
    assert (found.turns.num_waiting, found.turns.num_free) == (0, 1)
    for each in range(5):
        check(found.answers[each], each)


def test_those_that_were_searched_for_end_with_turns_that_nobody_else_has():
    counting, together = Counting(), threading.Barrier(4)

    def ask(number):
        found = TogetherIndex(counting).search(QUERIES[[number]], 5)
        if threading.get_ident() != counting.leader:
            together.wait()  # the turn beside the others, and the three that are free
        return found

    turns, searched = Turns(4), threading.Event()

    def hold():
        with turns.taken():
            searched.wait()

    def release():
        wait_until(lambda: counting.calls == [5])
        searched.set()

    holders = [threading.Thread(target=hold) for _ in range(3)]
    for holder in holders:
        holder.start()
    wait_until(lambda: turns.num_free == 1)
    releasing = threading.Thread(target=release)
    releasing.start()
    found = Round(5, ask, turns)
    for thread in (*holders, releasing):
        thread.join()
    assert (turns.num_waiting, turns.num_free) == (0, 4)
    for each in range(5):
        check(found.answers[each], each)


def test_one_that_ends_may_search_again():
    counting = Counting()

    def ask(number):
        again = TogetherIndex(counting).search(QUERIES[[number]], 5)
        np.testing.assert_array_equal(again[0], TogetherIndex(counting).search(QUERIES[[number]], 5)[0])
        return again

    found = Round(6, ask)
    assert sum(counting.calls) == 12
    assert (found.turns.num_waiting, found.turns.num_free) == (0, 1)
    for each in range(6):
        check(found.answers[each], each)


def test_a_turn_that_is_lent_lets_another_go_on():
    turns, came = Turns(1), threading.Event()

    def wait_for_the_other():
        with turns.taken(), lent():
            came.wait()

    def come():
        with turns.taken():
            came.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(wait_for_the_other)
        pool.submit(come).result()
        first.result()


def test_outside_of_a_turn_nothing_is_lent_and_searches_are_alone():
    counting = Counting()
    with lent():
        check(TogetherIndex(counting).search(QUERIES[[0]], 5), 0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_never_more_compute_at_once_and_all_end(number):
    turns, counting, computing, most = Turns(number), Counting(), [], []

    def compute(seed):
        computing.append(seed)
        most.append(len(computing))
        computing.remove(seed)

    def question(seed):
        generator = np.random.default_rng(seed)
        with turns.taken():
            for act in generator.integers(0, 3, 6):
                if act == 0:
                    with lent():
                        pass
                elif act == 1:
                    check(
                        TogetherIndex(counting).search(QUERIES[[seed % len(QUERIES)]], 5), seed % len(QUERIES)
                    )
                compute(seed)

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(question, range(120)))
    assert max(most) <= number + 1  # one of those that others have searched for comes to its end meanwhile
    assert (turns.num_waiting, turns.num_free) == (0, number)


def test_many_clients_at_once_get_the_answers_that_each_would_get_alone(scenes):
    photos = [jpeg(seed) for seed in range(12)]

    def ask(client, photo):
        answer = json_of(client.post("/v1/search", files={"photo": photo}))
        return [(each["id"], each["score"], each["probability"]) for each in answer["answers"]]

    with serving(scenes, num_threads=2) as client:
        alone = [ask(client, photo) for photo in photos]
    with serving(scenes, num_threads=2) as client, ThreadPoolExecutor(len(photos)) as pool:
        assert list(pool.map(lambda photo: ask(client, photo), photos)) == alone
