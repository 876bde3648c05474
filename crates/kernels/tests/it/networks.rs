//! Random small networks that use every operator.

use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source};

/// The same numbers for the same seed (xorshift, Marsaglia 2003).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() >> 20) as usize % most
    }

    pub(crate) fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }

    pub(crate) fn reals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.real()).collect()
    }
}

/// A network of a few random layers.
pub(crate) fn random(seed: u64) -> Graph {
    let mut r = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..10 {
        r.next();
    }
    let (height, width) = (3 + r.below(8), 3 + r.below(8));
    let mut net = GraphBuilder::new(InputSpec { height, width, ..InputSpec::rgb(8) });
    let mut x = net.input();
    for layer in 0..1 + r.below(4) {
        x = one(&mut net, &mut r, x, &format!("l{layer}"));
    }
    if r.below(3) > 0 {
        x = net.global_average_pool("pool", x);
    }
    x = net.flatten("flat", x);
    if r.below(3) == 0 {
        x = net.gemm("hidden", x, 5 + r.below(12));
        x = net.batch_norm("hidden.bn", x);
        x = net.hard_swish("hidden.act", x);
    }
    if r.below(3) == 0 {
        x = net.dropout("drop", x, 0.3);
    }
    let x = net.gemm("logits", x, 2 + r.below(4));
    net.finish(x).unwrap()
}

fn one(net: &mut GraphBuilder, r: &mut Numbers, x: Source, name: &str) -> Source {
    let shape = net.shape(x).unwrap();
    let (channels, side) = (shape[0], shape[1].min(shape[2]));
    let kernel = [1 + r.below(side.min(5)), 1 + r.below(side.min(5))];
    let strides = [1 + r.below(3), 1 + r.below(3)];
    let pads = [r.below(kernel[0]), r.below(kernel[1]), r.below(kernel[0]), r.below(kernel[1])];
    let y = match r.below(9) {
        0 => net.push(&format!("{name}.max"), Op::MaxPool { kernel, strides, pads }, &[x]),
        1 => net.push(&format!("{name}.mean"), Op::AveragePool { kernel, strides, pads }, &[x]),
        2 => {
            let op = Op::Conv { out_channels: channels, kernel, strides, pads, group: channels, bias: r.below(2) == 0 };
            net.push(&format!("{name}.dw"), op, &[x])
        }
        3 => {
            let group = if channels.is_multiple_of(2) { 2 } else { 1 };
            let out_channels = group * (1 + r.below(9));
            let op = Op::Conv { out_channels, kernel, strides, pads, group, bias: r.below(2) == 0 };
            net.push(&format!("{name}.grouped"), op, &[x])
        }
        // Read by a normalisation or an activation and by the sum after it: no gradient may take another's place.
        7 => {
            let y = match r.below(3) {
                0 => net.batch_norm(&format!("{name}.pre"), x),
                1 => net.hard_swish(&format!("{name}.pre"), x),
                _ => net.dropout(&format!("{name}.pre"), x, 0.3),
            };
            let y = net.conv(&format!("{name}.inner"), y, channels, 1, 1);
            let (a, b) = if r.below(2) == 0 { (x, y) } else { (y, x) };
            net.add(&format!("{name}.sum"), a, b)
        }
        4 => net.conv(&format!("{name}.point"), x, 1 + r.below(40), 1, 1),
        _ => {
            let op = Op::Conv { out_channels: 1 + r.below(40), kernel, strides, pads, group: 1, bias: r.below(2) == 0 };
            net.push(&format!("{name}.conv"), op, &[x])
        }
    };
    let y = if r.below(4) > 0 { net.batch_norm(&format!("{name}.bn"), y) } else { y };
    let y = match r.below(5) {
        0 => net.relu(&format!("{name}.act"), y),
        1 => net.push(&format!("{name}.act"), Op::Clip { min: -0.5, max: 0.75 }, &[y]),
        2 => net.hard_swish(&format!("{name}.act"), y),
        3 => net.push(&format!("{name}.act"), Op::Sigmoid, &[y]),
        _ => y,
    };
    if net.shape(x) == net.shape(y) && x != net.input() && r.below(2) == 0 {
        return net.add(&format!("{name}.add"), y, x);
    }
    y
}
