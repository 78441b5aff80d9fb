"""What a restarted kernel must be told: the next process of that kernel, once."""

from ukernel.hub import restartwarnings


def test_a_sentence_is_for_the_next_process_of_the_kernel_once():
    kept = restartwarnings.RestartWarnings()
    kept.keep("kernel", "first", "kitchen", "left alone")
    assert kept.take("other", "x", "kitchen") == ""
    assert kept.take("kernel", "second", "cellar") == ""
    assert kept.take("kernel", "second", "kitchen") == "left alone"
    assert kept.take("kernel", "third", "kitchen") == ""


def test_the_process_that_left_it_is_not_told():
    kept = restartwarnings.RestartWarnings()
    kept.keep("kernel", "first", "kitchen", "left alone")
    assert kept.take("kernel", "first", "kitchen") == ""
    assert kept.take("kernel", "second", "kitchen") == ""


def test_kernels_that_never_come_back_are_forgotten():
    kept = restartwarnings.RestartWarnings()
    for number in range(restartwarnings.MAX_WARNINGS + 1):
        kept.keep(f"kernel {number}", "i", "kitchen", "left alone")
    assert kept.take("kernel 0", "j", "kitchen") == ""
    assert kept.take("kernel 1", "j", "kitchen") == "left alone"
