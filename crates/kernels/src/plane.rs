//! How a batch of feature maps lies in memory.

use crate::lanes::LANES;
use aligned_vec::{AVec, ConstAlign};

/// Numbers on a cache line's boundary, so that no vector straddles two.
pub(crate) type Buffer = AVec<f32, ConstAlign<64>>;

/// A buffer of zeros.
pub(crate) fn zeros(len: usize) -> Buffer {
    let mut buffer = Buffer::with_capacity(64, len);
    buffer.resize(len, 0.0);
    buffer
}

/// A batch of maps, channels last: `[image][row][column][channel]`, each row and column with a border
/// of zeros as wide as its readers' padding, so that no kernel ever tests for an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plane {
    pub(crate) channels: usize,
    /// Numbers from one pixel to the next: the channels, padded to whole vectors.
    pub(crate) step: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Zeros around: top, left, bottom, right.
    pub(crate) border: [usize; 4],
}

impl Plane {
    pub(crate) fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, step: channels.next_multiple_of(LANES), height, width, border: [0; 4] }
    }

    /// Widens the border to hold this one too.
    pub(crate) fn widen(&mut self, border: [usize; 4]) {
        for (has, needs) in self.border.iter_mut().zip(border) {
            *has = needs.max(*has);
        }
    }

    /// Numbers from one row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.border[1] + self.width + self.border[3]) * self.step
    }

    /// Numbers from one image to the next.
    pub(crate) fn image(&self) -> usize {
        (self.border[0] + self.height + self.border[2]) * self.row()
    }

    /// Where the first image's pixel at row 0, column 0 is.
    pub(crate) fn origin(&self) -> usize {
        self.border[0] * self.row() + self.border[1] * self.step
    }

    /// Where each row without its border begins, of the images of a range.
    pub(crate) fn rows(&self, images: std::ops::Range<usize>) -> impl Iterator<Item = usize> + use<> {
        let (plane, height) = (*self, self.height);
        images.flat_map(move |image| (0..height).map(move |y| image * plane.image() + plane.origin() + y * plane.row()))
    }

    /// Numbers of a row without its border.
    pub(crate) fn line(&self) -> usize {
        self.width * self.step
    }

    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }
}

impl Plane {
    /// The same without its border.
    pub(crate) fn without_border(&self) -> Self {
        Self { border: [0; 4], ..*self }
    }
}
