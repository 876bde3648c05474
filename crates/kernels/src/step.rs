//! One step on a few images of a chunk, forwards and backwards.

use crate::compile::{Compiled, Step};
use crate::dense::Start;
use crate::program::{Chunk, Shared};
use crate::{elementwise, norm};
use std::ops::Range;

/// Two of a list's items, the first to read and the second to write.
fn pair<T>(list: &mut [T], read: usize, write: usize) -> (&T, &mut T) {
    debug_assert_ne!(read, write);
    if read < write {
        let (low, high) = list.split_at_mut(write);
        (&low[read], &mut high[0])
    } else {
        let (low, high) = list.split_at_mut(read);
        (&high[0], &mut low[write])
    }
}

pub(crate) fn forward(compiled: &Compiled, step: &Step, shared: &Shared, chunk: &mut Chunk, images: Range<usize>) {
    let planes = &compiled.values;
    let weights = &shared.weights;
    match step {
        Step::Dense { kernel, x, y, packed, bias, .. } => {
            let start = bias.clone().map_or(Start::Zero, |bias| Start::Bias(&weights[bias]));
            let (x, y) = pair(&mut chunk.values, *x, *y);
            kernel.forward(&weights[packed.clone()], x, y, start, images);
        }
        Step::Depthwise { kernel, x, y, packed, bias, .. } => {
            let bias = bias.clone().map(|bias| &weights[bias]);
            let (x, y) = pair(&mut chunk.values, *x, *y);
            kernel.forward(&weights[packed.clone()], bias, x, y, images);
        }
        Step::Measure { norm } => {
            let x = compiled.norms[*norm].x;
            norm::measure(&chunk.values[x], &planes[x], images, &mut chunk.moments[*norm]);
        }
        Step::Normalize { norm, y } => {
            let about = &compiled.norms[*norm];
            let (from, to) = pair(&mut chunk.values, about.x, *y);
            let (from, to) = ((from, &planes[about.x]), (to, &planes[*y]));
            norm::apply(&shared.norms[*norm], about.activation, from, to, images);
        }
        Step::Activate { activation, x, y, .. } => {
            let (from, to) = pair(&mut chunk.values, *x, *y);
            elementwise::activate(*activation, (from, &planes[*x]), (to, &planes[*y]), images);
        }
        Step::Add { inputs, y, .. } => {
            for (i, (x, _)) in inputs.iter().enumerate() {
                let (from, to) = pair(&mut chunk.values, *x, *y);
                elementwise::copy((from, &planes[*x]), (to, &planes[*y]), i > 0, images.clone());
            }
        }
        Step::Pool { kernel, x, y, .. } => {
            let (from, to) = pair(&mut chunk.values, *x, *y);
            kernel.forward((from, &planes[*x]), (to, &planes[*y]), images);
        }
        Step::Dropout { mask, x, y, .. } => {
            let (from, to) = pair(&mut chunk.values, *x, *y);
            elementwise::copy((from, &planes[*x]), (to, &planes[*y]), false, images.clone());
            if let Some(mask) = mask {
                let factors = (&chunk.masks[*mask], &planes[*y].without_border());
                elementwise::multiply(factors, (to, &planes[*y]), images);
            }
        }
    }
}

pub(crate) fn backward(compiled: &Compiled, step: &Step, shared: &Shared, chunk: &mut Chunk, images: Range<usize>) {
    let (planes, gradient_planes) = (&compiled.values, &compiled.gradients);
    let of = |slot: usize| compiled.gradient_of[slot];
    match step {
        Step::Dense { kernel, x, y, packed, packed_back, bias, back } => {
            let dy = &chunk.gradients[of(*y)];
            let own = &mut chunk.weight_gradient[packed.clone()];
            kernel.weight_gradient(&chunk.values[*x], dy, own, images.clone());
            if let Some(bias) = bias {
                let to = &mut chunk.weight_gradient[bias.clone()];
                norm::sum_channels(dy, &gradient_planes[of(*y)], images.clone(), to);
            }
            if let Some(sum) = back {
                let plane = &gradient_planes[of(*x)];
                let (dy, dx) = pair(&mut chunk.gradients, of(*y), of(*x));
                kernel.backward(&shared.weights[packed_back.clone()], dy, (dx, plane), *sum, images);
            }
        }
        Step::Depthwise { kernel, x, y, packed, bias, back } => {
            let dy = &chunk.gradients[of(*y)];
            let own = &mut chunk.weight_gradient[packed.clone()];
            kernel.weight_gradient(&chunk.values[*x], dy, own, images.clone());
            if let Some(bias) = bias {
                let to = &mut chunk.weight_gradient[bias.clone()];
                norm::sum_channels(dy, &gradient_planes[of(*y)], images.clone(), to);
            }
            if let Some(sum) = back {
                let (dy, dx) = pair(&mut chunk.gradients, of(*y), of(*x));
                kernel.backward(&shared.weights[packed.clone()], dy, dx, *sum, images);
            }
        }
        Step::Normalize { norm, y } => {
            let about = &compiled.norms[*norm];
            let x = (&chunk.values[about.x], &planes[about.x]);
            let dy = (&chunk.gradients[of(*y)], &gradient_planes[of(*y)]);
            norm::sum_slopes(&shared.norms[*norm], about.activation, x, dy, images, &mut chunk.slopes[*norm]);
        }
        Step::Measure { norm } => {
            // The pass after the whole batch's sums are known.
            let about = &compiled.norms[*norm];
            let coefficients = &shared.norms[*norm];
            let x = (&chunk.values[about.x], &planes[about.x]);
            let from = of(about.y);
            let plane = &gradient_planes[from];
            norm::apply_slopes(coefficients, about.activation, x, (&mut chunk.gradients[from], plane), images.clone());
            give(compiled, chunk, about.y, about.x, about.back, images);
        }
        Step::Activate { activation, x, y, back } => {
            let from = of(*y);
            let to = (&mut chunk.gradients[from], &gradient_planes[from]);
            elementwise::activate_back(*activation, (&chunk.values[*x], &planes[*x]), to, images.clone());
            give(compiled, chunk, *y, *x, *back, images);
        }
        Step::Add { inputs, y, .. } => {
            for (x, back) in inputs {
                give(compiled, chunk, *y, *x, *back, images.clone());
            }
        }
        Step::Pool { kernel, x, y, back } => {
            let Some(sum) = back else { return };
            let dx_plane = &gradient_planes[of(*x)];
            let (dy, dx) = pair(&mut chunk.gradients, of(*y), of(*x));
            let (x, y_value) = ((&chunk.values[*x], &planes[*x]), (&chunk.values[*y], &planes[*y]));
            kernel.backward(x, y_value, (dy, &gradient_planes[of(*y)]), (dx, dx_plane), *sum, images);
        }
        Step::Dropout { mask, x, y, back } => {
            if let Some(mask) = mask {
                let factors = (&chunk.masks[*mask], &planes[*y].without_border());
                let to = (&mut chunk.gradients[of(*y)], &gradient_planes[of(*y)]);
                elementwise::multiply(factors, to, images.clone());
            }
            give(compiled, chunk, *y, *x, *back, images);
        }
    }
}

/// Hands a gradient on, unless both lie in the same place.
fn give(compiled: &Compiled, chunk: &mut Chunk, y: usize, x: usize, back: Option<bool>, images: Range<usize>) {
    let (from, to) = (compiled.gradient_of[y], compiled.gradient_of[x]);
    if let Some(sum) = back.filter(|_| from != to) {
        let (dy, dx) = pair(&mut chunk.gradients, from, to);
        elementwise::copy((dy, &compiled.gradients[from]), (dx, &compiled.gradients[to]), sum, images);
    }
}
