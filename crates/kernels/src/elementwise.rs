//! Sums, products and activations of whole planes, and bringing numbers in and out.

use crate::activation::{Activation, Function, WithFunction, choose};
use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::plane::{Buffer, Plane};
use std::ops::Range;

/// `[N, C, H, W]` of one range of images into a plane; `numbers` begins with the range's first image.
pub(crate) fn load(numbers: &[f32], to: &mut Buffer, plane: &Plane, images: Range<usize>) {
    let pixels = plane.pixels();
    for (image, from) in images.zip(numbers.chunks_exact(plane.channels * pixels)) {
        for (y, at) in plane.rows(image..image + 1).enumerate() {
            for (channel, from) in from.chunks_exact(pixels).enumerate() {
                let row = &mut to[at + channel..at + plane.line()];
                let from = &from[y * plane.width..][..plane.width];
                row.iter_mut().step_by(plane.step).zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// A plane's numbers as `[N, C, H, W]`.
pub(crate) fn save(from: &Buffer, plane: &Plane, images: Range<usize>, numbers: &mut [f32]) {
    let pixels = plane.pixels();
    for (image, to) in images.zip(numbers.chunks_exact_mut(plane.channels * pixels)) {
        for (y, at) in plane.rows(image..image + 1).enumerate() {
            for (channel, to) in to.chunks_exact_mut(pixels).enumerate() {
                let row = &from[at + channel..at + plane.line()];
                let to = &mut to[y * plane.width..][..plane.width];
                to.iter_mut().zip(row.iter().step_by(plane.step)).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// The rows of two planes of the same size, as vectors.
fn rows<'a>(
    from: (&'a Buffer, &'a Plane),
    to: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
    mut each: impl FnMut(&[[f32; LANES]], &mut [[f32; LANES]]),
) {
    let ((from, from_plane), (to, to_plane)) = (from, to);
    for (a, b) in from_plane.rows(images.clone()).zip(to_plane.rows(images)) {
        let from = from[a..a + from_plane.line()].as_chunks::<LANES>().0;
        each(from, to[b..b + to_plane.line()].as_chunks_mut::<LANES>().0);
    }
}

/// Copies, or (`sum`) adds.
pub(crate) fn copy(from: (&Buffer, &Plane), to: (&mut Buffer, &Plane), sum: bool, images: Range<usize>) {
    rows(from, to, images, |from, to| {
        if sum {
            from.iter().zip(to).for_each(|(from, to)| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from));
        } else {
            to.copy_from_slice(from);
        }
    });
}

/// Multiplies in place by a mask of the plane's own layout without border.
pub(crate) fn multiply(mask: (&Buffer, &Plane), to: (&mut Buffer, &Plane), images: Range<usize>) {
    rows(mask, to, images, |mask, to| {
        mask.iter().zip(to).for_each(|(mask, to)| to.iter_mut().zip(mask).for_each(|(to, by)| *to *= *by));
    });
}

/// `y = activation(x)`.
pub(crate) fn activate(activation: Activation, x: (&Buffer, &Plane), y: (&mut Buffer, &Plane), images: Range<usize>) {
    dispatch(Activate { activation, x, to: y, images, back: false });
}

/// The output's gradient, in `gradient`, becomes the input's.
pub(crate) fn activate_back(
    activation: Activation,
    x: (&Buffer, &Plane),
    gradient: (&mut Buffer, &Plane),
    images: Range<usize>,
) {
    dispatch(Activate { activation, x, to: gradient, images, back: true });
}

struct Activate<'a> {
    activation: Activation,
    x: (&'a Buffer, &'a Plane),
    to: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
    back: bool,
}

impl Kernel for Activate<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        choose::<V, _>(self.activation, self);
    }
}

impl WithFunction for Activate<'_> {
    #[inline(always)]
    fn run<V: Lanes, F: Function>(self, function: F) {
        let ((x, x_plane), (y, y_plane)) = (self.x, self.to);
        for (a, b) in x_plane.rows(self.images.clone()).zip(y_plane.rows(self.images)) {
            let from = x[a..a + x_plane.line()].as_chunks::<LANES>().0;
            let to = y[b..b + y_plane.line()].as_chunks_mut::<LANES>().0;
            for (from, to) in from.iter().zip(to) {
                let x = V::load(from);
                let y = if self.back { function.slope(x, V::load(to)) } else { function.value(x) };
                y.store(to);
            }
        }
    }
}
