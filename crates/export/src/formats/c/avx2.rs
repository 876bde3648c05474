//! The same kernels for processors of the x86 family that have AVX2, in the same file: the program itself finds out which
//! to run. They read the same weights, so that a file holds them once.
//!
//! What they need beyond the arena lies on the stack and is bounded here; a layer that would need more keeps its portable
//! kernel.

use super::SHARED;
use crate::formats::pack::{Step, fill, is_padded, section};
use kindling_graph::Convolution;
use std::collections::BTreeSet;

/// Codes of 16 bits that the windows of one layer take at most.
const MOST_NEAR: usize = 8192;
/// Taps of a window at most, each of which has a pointer a pixel, and channels of a row of padding.
const MOST_TAPS: usize = 128;
const MOST_CHANNELS: usize = 2048;
/// Pixels whose windows are copied at once, where they are short.
const PIXELS: usize = 24;

/// The kernels that a file needs in this form, and the greatest sizes of what they keep on the stack.
#[derive(Default)]
pub(super) struct Fast {
    kernels: BTreeSet<&'static str>,
    near: usize,
    taps: usize,
    channels: usize,
}

impl Fast {
    /// A kernel's call: of the faster form where `is_fast`.
    pub(super) fn call(&mut self, name: &'static str, is_fast: bool) -> String {
        if is_fast {
            self.kernels.insert(name);
            format!("FASTEST({name})")
        } else {
            name.to_owned()
        }
    }

    /// Makes room for a convolution of floats; whether there is any.
    pub(super) fn fits_floats(&mut self, step: &Step<'_>, conv: &Convolution) -> bool {
        let [channels, ..] = step.from.shape;
        let [rows, columns] = conv.window.kernel;
        // One pixel without padding has whole rows of taps.
        let single = step.layer.to[1..] == [1, 1] && !is_padded(conv);
        let taps = if single { rows } else { rows * columns };
        let is_depthwise = conv.is_depthwise(channels);
        let fits = if is_depthwise { channels >= 8 } else { conv.group == 1 && self.has_room(conv, taps, channels) };
        if fits && !is_depthwise {
            self.grow(conv, taps, channels);
        }
        fits
    }

    /// The same for codes. Shifts below 31 are of factors from 1 up, whose products may not fit in 32 bits.
    pub(super) fn fits_codes(
        &mut self,
        step: &Step<'_>,
        conv: &Convolution,
        mut shifts: impl Iterator<Item = u8>,
    ) -> bool {
        let [channels, ..] = step.from.shape;
        let taps: usize = conv.window.kernel.iter().product();
        if shifts.any(|shift| shift < 31) {
            return false;
        }
        if conv.is_depthwise(channels) {
            // Taps are taken in pairs.
            let fits = channels >= 8 && self.has_room(conv, taps + 1, channels);
            if fits {
                self.grow(conv, taps + 1, channels);
            }
            return fits;
        }
        let wide = conv.taps().next_multiple_of(16);
        let fits = conv.group == 1 && conv.bias.len() >= 4 && wide <= MOST_NEAR;
        if fits {
            let pixels: usize = step.layer.to[1..].iter().product();
            self.near = self.near.max((PIXELS.min(pixels) * wide).min(MOST_NEAR));
        }
        fits
    }

    fn has_room(&self, conv: &Convolution, taps: usize, channels: usize) -> bool {
        taps <= MOST_TAPS && (!is_padded(conv) || channels <= MOST_CHANNELS)
    }

    fn grow(&mut self, conv: &Convolution, taps: usize, channels: usize) {
        self.taps = self.taps.max(taps);
        self.channels = self.channels.max(if is_padded(conv) { channels } else { 1 });
    }

    /// The kernels of a template; `always` where any convolution is.
    pub(super) fn text(&self, template: &str, always: &str) -> String {
        if self.kernels.is_empty() {
            return String::new();
        }
        let [near, taps, channels] = [self.near, self.taps, self.channels].map(|size| size.to_string());
        let values = [("NEAR", near.as_str()), ("TAPS", &taps), ("CHANNELS", &channels)];
        let convolves = self.kernels.contains("conv") || self.kernels.contains("depthwise");
        let mut text = section(SHARED, "avx2").to_owned();
        if convolves {
            text.push_str(section(template, always));
        }
        for name in &self.kernels {
            // The few channels that a block of 16 leaves.
            let few = section(template, &format!("{name}_few"));
            let few = [("8", "__m256", "_mm256"), ("4", "__m128", "_mm")]
                .map(|(b, v, m)| fill(few, &[("B", b), ("V", v), ("M", m)]))
                .concat();
            text.push_str(&fill(&fill(section(template, name), &[("FEW", &few)]), &values));
        }
        text + section(SHARED, "avx2_end")
    }

    /// A kernel that stands by itself, after what it reads, with its name; none where nothing else is faster either.
    pub(super) fn alone(&self, template: &str, name: &str) -> [String; 2] {
        if self.kernels.is_empty() {
            return [String::new(), name.to_owned()];
        }
        [format!("#if defined(AVX2)\n{}\n#endif\n\n", section(template, name).trim_end()), format!("FASTEST({name})")]
    }

    /// What finds out about the processor, before the first call.
    pub(super) fn question(&self) -> &'static str {
        if self.kernels.is_empty() { "" } else { "    ASK_PROCESSOR\n" }
    }
}
