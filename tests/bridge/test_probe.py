"""The probe of torch is quick, true to torch, and leaves its settings as they were."""

import time

import torch

from ontogeny import bridge


def test_the_probe_is_quick_and_leaves_torch_as_it_was() -> None:
    drawn = torch.random.get_rng_state()
    began = time.process_time()
    probe = bridge.probe_torch()
    assert time.process_time() - began < 2 * probe.threads
    assert probe.version == torch.__version__
    assert probe.fp32 > 1e8
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert (probe.device == "cuda") == torch.cuda.is_available()


def test_settings_that_were_on_stay_on() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert bridge.probe_torch().deterministic or torch.cuda.is_available()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
