"""Tempo without pitch, pitch without tempo, waves at a signal-to-noise ratio. Sines and NumPy are the witnesses."""

import numpy as np
import pytest
import torch
from batches import after, made
from pydantic import ValidationError

from dlx.augment import vocoder
from dlx.augment.vocoder import resampled, vocoded
from dlx.errors import ShapeError
from dlx.shapes import Shape

LENGTH, TURNS = 4096, 0.05


def sine(turns=TURNS, length=LENGTH):
    return torch.sin(2 * torch.pi * turns * torch.arange(length))


def pitch(x) -> float:
    """Turns a step of the largest component, by a padded Fourier transform with a Hann window."""
    magnitudes = np.abs(np.fft.rfft(x.numpy() * np.hanning(len(x)), 16 * len(x)))
    return magnitudes.argmax() / (16 * len(x))


def click_at(x) -> float:
    """Middle of the energy of a wave."""
    energy = x.double().square()
    return float((energy * torch.arange(len(x))).sum() / energy.sum())


@pytest.mark.parametrize("rate", [0.7, 1.0, 1.6])
def test_a_stretched_sine_keeps_its_pitch_and_its_amplitude(rate):
    found = after("time_stretch", sine()[None, None], rate=[rate, rate])[0, 0]
    middle = found[LENGTH // 2 - 1000 : LENGTH // 2 + 1000]
    assert pitch(middle) == pytest.approx(TURNS, rel=2e-3)
    assert middle.square().mean().sqrt() == pytest.approx(0.5**0.5, rel=0.02)


@pytest.mark.parametrize("rate", [0.7, 1.6])
def test_played_at_another_speed_the_pitch_changes_which_a_stretch_does_not(rate):
    """The twin: `speed` moves the pitch by its factor."""
    found = after("speed", sine()[None, None], factor=[rate, rate])[0, 0]
    assert pitch(found[LENGTH // 2 - 1000 : LENGTH // 2 + 1000]) == pytest.approx(TURNS * rate, rel=2e-3)


def test_a_stretch_moves_what_happens_towards_the_middle_by_its_rate():
    """A tone of 200 steps, 1,000 before the middle: at twice the tempo 500 before it, and half as long."""
    x = torch.zeros(LENGTH)
    x[948:1148] = sine()[:200]
    found = after("time_stretch", x[None, None], rate=[2, 2], n_fft=64)[0, 0]
    assert click_at(found) == pytest.approx(2048 - 500, abs=8)
    spread = [((torch.arange(LENGTH) - click_at(w)) ** 2 * w**2).sum() / w.square().sum() for w in (x, found)]
    assert (spread[1] / spread[0]) ** 0.5 == pytest.approx(0.5, abs=0.05)


def test_what_is_faster_is_shorter_with_zeros_around_it():
    found = after("time_stretch", sine()[None, None], rate=[2, 2])[0, 0]
    assert (found[: LENGTH // 4 - 1] == 0).all()
    assert (found[-(LENGTH // 4 - 1) :] == 0).all()
    assert found[LENGTH // 4 + 2 : LENGTH // 4 + 100].abs().max() > 0.5


@pytest.mark.parametrize("semitones", [-12, -5, 0, 3, 12])
def test_a_pitch_shift_moves_a_sine_by_its_ratio_and_keeps_its_length(semitones):
    """An octave is twice the frequency, a semitone the twelfth root of 2 (equal temperament)."""
    found = after("pitch_shift", sine()[None, None], semitones=[semitones, semitones])[0, 0]
    assert len(found) == LENGTH
    assert pitch(found[500:-500]) == pytest.approx(TURNS * 2 ** (semitones / 12), rel=2e-3)
    assert found[500:-500].square().mean().sqrt() == pytest.approx(0.5**0.5, rel=0.03)


def test_a_pitch_shift_leaves_things_where_they_are_in_time():
    """The twin: at another speed they move."""
    x = torch.zeros(LENGTH)
    x[948:1148] = sine()[:200]
    found = after("pitch_shift", x[None, None], semitones=[7, 7], n_fft=64)[0, 0]
    assert click_at(found) == pytest.approx(click_at(x), abs=8)
    moved = after("speed", x[None, None], factor=[1.5, 1.5])[0, 0]
    assert abs(click_at(moved) - click_at(x)) > 300


def test_without_locked_phases_the_components_of_a_sine_cancel(monkeypatch):
    """The twin: each bin is its own peak, as in the vocoder of 1966."""
    monkeypatch.setattr(
        vocoder, "_nearest_peak", lambda x: torch.arange(x.shape[1])[:, None].expand_as(x).contiguous()
    )
    found = after("time_stretch", sine()[None, None], rate=[1.6, 1.6])[0, 0]
    assert found[LENGTH // 2 - 1000 : LENGTH // 2 + 1000].square().mean().sqrt() < 0.5


def test_what_would_pass_half_the_sampling_rate_is_left_out():
    """0.4 turns a step, an octave up, would be 0.8, and come back as 0.2."""
    found = after("pitch_shift", sine(0.4)[None, None], semitones=[12, 12])[0, 0]
    assert found[500:-500].square().mean() < 1e-3


def test_a_rate_of_one_and_no_semitones_give_the_wave_itself():
    x = torch.randn(2, 3, 700, generator=torch.Generator().manual_seed(0))
    for kind, options in (("time_stretch", {"rate": [1, 1]}), ("pitch_shift", {"semitones": [0, 0]})):
        found = after(kind, x, n_fft=64, **options)
        # the last window goes on beyond the wave, which is then cut off
        assert found[..., :-64].numpy() == pytest.approx(x[..., :-64].numpy(), abs=1e-3)
        first = after(kind, x.transpose(1, 2), n_fft=64, time="first", **options)
        assert torch.equal(first.transpose(1, 2), found)


def test_frames_between_two_others_by_hand():
    """In NumPy, one frame after the other: each bin goes on as its nearest peak does."""
    frames = torch.randn(1, 9, 26, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    places = torch.arange(30) * 0.75
    found = vocoded(frames, places[None])[0].numpy()
    own = frames[0].numpy().astype(complex)
    bins = np.arange(len(own))
    phase = np.angle(own[:, 0])
    for i, place in enumerate(places.tolist()):
        t = int(place)
        magnitude = (1 - place % 1) * abs(own[:, t]) + place % 1 * abs(own[:, t + 1])
        peaks = [k for k in bins if magnitude[k] == magnitude[max(0, k - 2) : k + 3].max()]
        nearest = np.array([min(peaks, key=lambda peak: abs(peak - k)) for k in bins])
        turned = np.angle(own[:, t + 1]) - np.angle(own[:, t]) - np.pi / 2 * bins
        advance = np.pi / 2 * bins + (turned + np.pi) % (2 * np.pi) - np.pi
        here = np.angle(own[:, t]) + place % 1 * advance
        if i:
            phase = phase[nearest] + here - here[nearest]
        assert found[:, i] == pytest.approx(magnitude * np.exp(1j * phase), abs=5e-4)
        phase = phase + advance


def test_a_wave_read_between_its_steps_is_the_sine_there():
    places = torch.linspace(100, 300, 77)[None]
    found = resampled(sine(0.21, 400)[None], places)
    assert found.numpy() == pytest.approx(np.sin(2 * np.pi * 0.21 * places.numpy()), abs=2e-3)


def test_examples_that_are_too_short_for_the_window_are_told():
    with pytest.raises(ShapeError, match="time_stretch looks at windows of 512 steps, and an example has 256"):
        made("time_stretch").output_shape(Shape((1, 256)))
    assert made("time_stretch", n_fft=64).output_shape(Shape((1, 256))) == Shape((1, 256))


# --- signal-to-noise ratios -----------------------------------------------------------------------------------------


def decibels(signal, noise):
    return 10 * torch.log10(signal.square().mean((1, 2)) / noise.square().mean((1, 2)))


def test_noise_and_mixing_have_the_ratio_that_was_asked_for():
    x = torch.randn(50, 1, 4000) * torch.linspace(0.1, 3, 50)[:, None, None]
    mixed = after("mix_at_snr", x, snr=[5, 5]) - x
    assert decibels(x, mixed).tolist() == pytest.approx([5] * 50, abs=1e-3)
    noise = after("gaussian_noise", x, snr=[12, 12]) - x
    assert decibels(x, noise).tolist() == pytest.approx([12] * 50, abs=4 * 10 / np.log(10) * np.sqrt(2 / 4000))
    plain = after("gaussian_noise", x, std=0.1) - x  # the twin: the same noise for all
    assert decibels(x, plain).max() - decibels(x, plain).min() > 20


def test_ratios_are_drawn_between_their_ends():
    x = torch.randn(2000, 1, 50)
    drawn = decibels(x, after("mix_at_snr", x, snr=[0, 20]) - x)
    assert -0.001 <= drawn.min() < 1
    assert 19 < drawn.max() <= 20.001
    assert drawn.mean() == pytest.approx(10, abs=4 * 20 / np.sqrt(12 * 2000))


def test_what_is_mixed_in_is_another_example_of_the_batch_and_each_is_mixed_in_once():
    x = torch.eye(20)[:, None] * 4
    found = after("mix_at_snr", x, snr=[20, 20])[:, 0]
    assert found.diagonal().tolist() == pytest.approx([4] * 20)
    added = found - 4 * torch.eye(20)
    assert added.sum(0).tolist() == pytest.approx([0.4] * 20, abs=1e-5)
    assert added.sum(1).tolist() == pytest.approx([0.4] * 20, abs=1e-5)


def test_silence_and_a_batch_of_one_stay_as_they_are():
    x = torch.randn(1, 1, 30)
    assert torch.equal(after("mix_at_snr", x), x)
    pair = torch.stack([torch.zeros(1, 30), torch.ones(1, 30)])
    assert torch.equal(after("mix_at_snr", pair), pair)
    assert torch.equal(after("gaussian_noise", pair, snr=[0, 0])[0], pair[0])


def test_two_ways_to_say_how_much_noise_there_is_are_an_error():
    with pytest.raises(ValidationError, match="`std` and `snr` both say how much noise there is"):
        made("gaussian_noise", std=0.1, snr=[1, 2])
