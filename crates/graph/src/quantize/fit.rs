//! Weights rounded such that a layer's sums on its rounded inputs are what they were on the real ones.

use super::observe::Patches;

/// Taps whose errors make up for each other, at most: so that a wide layer takes no longer than several narrow ones.
const BLOCK: usize = 512;
/// Added to the diagonal, as a share of its mean, as GPTQ does: what the images do not tell of is left as it is.
const DAMPING: f64 = 0.01;
/// How far a scale may go from what holds the greatest weight: the images of a silent channel tell little of it.
const SLOPES: [f64; 2] = [0.8, 1.25];

/// Output channels of one group.
pub(super) struct Rows {
    /// Each one's weights, for inputs in codes.
    pub(super) weight: Vec<Vec<f64>>,
    /// Each one's sums at the places of the patches, bias included.
    pub(super) targets: Vec<Vec<f32>>,
    /// The least scale of each.
    pub(super) least: Vec<f64>,
}

/// One rounded row.
pub(super) struct Row {
    pub(super) codes: Vec<i8>,
    /// Of the codes, for inputs in codes.
    pub(super) scale: f64,
    /// In the targets' units.
    pub(super) bias: f64,
}

/// Rounds rows.
///
/// Weights are rounded one after another, each such that the sums' squared error on the inputs is least given the errors
/// before it (GPTQ, Frantar et al. 2023, with the inputs as they are after rounding all that comes before; as Babai's
/// nearest plane, Chen et al. 2025). Then the line is fitted that leads from the sums to the targets: its slope goes into
/// the scale, its offset is the bias (Banner et al. 2019, section 4; Nagel et al. 2019, section 4.2), so that neither
/// the mean nor the spread of a channel changes by what was rounded before it.
pub(super) fn fit_rows(patches: &Patches, rows: &Rows) -> Vec<Row> {
    let means = patches.means();
    let taps = means.len();
    let scales: Vec<f64> = rows
        .weight
        .iter()
        .zip(&rows.least)
        .map(|(row, least)| (row.iter().fold(0.0f64, |most, w| most.max(w.abs())) / 127.0).max(*least).max(1e-12))
        .collect();
    let mut codes: Vec<Vec<i8>> = vec![Vec::with_capacity(taps); rows.weight.len()];
    for first in (0..taps).step_by(BLOCK) {
        let block = first..(first + BLOCK).min(taps);
        let lower = cholesky(damped(patches.covariance(block.clone(), &means), block.len()), block.len());
        for ((codes, row), scale) in codes.iter_mut().zip(&rows.weight).zip(&scales) {
            codes.extend(nearest(&lower, &row[block.clone()], *scale));
        }
    }
    let fitted = codes.into_iter().zip(scales).zip(&rows.targets);
    fitted
        .map(|((codes, scale), targets)| {
            let sums = patches.sums(&codes);
            let mean =
                |numbers: &[f32]| numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / numbers.len().max(1) as f64;
            let (sum, target) = (mean(&sums), mean(targets));
            let (mut square, mut along) = (0.0, 0.0);
            for (x, t) in sums.iter().zip(targets) {
                let x = f64::from(*x) - sum;
                square += x * x;
                along += x * (f64::from(*t) - target);
            }
            let slope = if square > 0.0 { along / square / scale } else { 1.0 };
            let scale = scale * slope.clamp(SLOPES[0], SLOPES[1]);
            Row { codes, scale, bias: target - scale * sum }
        })
        .collect()
}

fn damped(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    let mean = (0..n).map(|i| matrix[i * n + i]).sum::<f64>() / n.max(1) as f64;
    for i in 0..n {
        // A constant too, for inputs that do not change at all.
        matrix[i * n + i] += DAMPING * mean + 1e-6;
    }
    matrix
}

/// The lower triangle `L` with `L L^T` the matrix; what is above it stays as it is.
fn cholesky(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    for i in 0..n {
        let (before, row) = matrix.split_at_mut(i * n);
        for j in 0..i {
            let other = &before[j * n..j * n + j + 1];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        row[i] = (row[i] - dot(&row[..i], &row[..i])).max(1e-9).sqrt();
    }
    matrix
}

/// Four sums side by side, which compilers vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (mut a, mut b) = (a.chunks_exact(4), b.chunks_exact(4));
    for (a, b) in (&mut a).zip(&mut b) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum::<f64>()
}

/// Codes `q` with `|L^T (scale q - w)|^2` small. `L^T` is an upper triangle: the last weight is rounded first, and each is
/// aimed at where it cancels what those after it have left.
fn nearest(lower: &[f64], row: &[f64], scale: f64) -> Vec<i8> {
    let n = row.len();
    let (mut codes, mut left) = (vec![0; n], vec![0.0; n]);
    for k in (0..n).rev() {
        let aim = row[k] - left[k] / lower[k * n + k];
        let code = (aim / scale).round().clamp(-127.0, 127.0);
        codes[k] = code as i8;
        let error = code * scale - row[k];
        for (left, l) in left[..k].iter_mut().zip(&lower[k * n..k * n + k]) {
            *left += l * error;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three inputs that are always the same: each weight is 0.4 or so from a code, all rounded down are 0.8 from their sum.
    #[test]
    fn errors_make_up_for_each_other() {
        let same = || (0..64).collect::<Vec<i16>>();
        let columns = vec![same(), same(), same(), (0..64).map(|x| x * x % 37).collect()];
        let row = vec![1.27, 0.554, 0.554, 0.346];
        let target = |x: usize| {
            let sum: f64 = columns.iter().zip(&row).map(|(column, w)| f64::from(column[x]) * w).sum();
            (1.1 * sum + 3.0) as f32
        };
        let targets: Vec<f32> = (0..64).map(target).collect();
        let rows = Rows { weight: vec![row], targets: vec![targets.clone()], least: vec![0.0] };
        let made = fit_rows(&Patches { columns: columns.clone() }, &rows).remove(0);
        let three: f64 = made.codes[..3].iter().map(|code| f64::from(*code)).sum();
        assert!((three - 237.8).abs() < 0.5, "{:?}", made.codes);
        // The slope and the offset are those of the targets.
        for (x, target) in targets.iter().enumerate() {
            let sum: f64 = made.codes.iter().zip(&columns).map(|(q, c)| f64::from(*q) * f64::from(c[x])).sum();
            assert!((sum * made.scale + made.bias - f64::from(*target)).abs() < 0.3, "{x}");
        }
    }

    #[test]
    fn a_silent_channel_keeps_its_scale_and_has_its_mean() {
        let rows = Rows { weight: vec![vec![1e-12, 0.0]], targets: vec![vec![4.0, 4.0, 4.5]], least: vec![1e-4] };
        let made = fit_rows(&Patches { columns: vec![vec![1, 2, 3], vec![0, 0, 0]] }, &rows).remove(0);
        assert_eq!((made.codes, made.scale), (vec![0, 0], 1e-4));
        assert!((made.bias - 12.5 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_triangle_is_the_matrix_s_root() {
        let n = 7;
        let half: Vec<f64> = (0..n * n).map(|i| ((i * 31 % 17) as f64 - 8.0) / 4.0).collect();
        let entry = |i: usize, j: usize| dot(&half[i * n..(i + 1) * n], &half[j * n..(j + 1) * n]);
        let matrix: Vec<f64> =
            (0..n * n).map(|at| entry(at / n, at % n) + f64::from(u8::from(at % (n + 1) == 0))).collect();
        let lower = cholesky(matrix.clone(), n);
        for i in 0..n {
            for j in 0..=i {
                let product = dot(&lower[i * n..i * n + j + 1], &lower[j * n..j * n + j + 1]);
                assert!((product - matrix[i * n + j]).abs() < 1e-9, "{i} {j}");
            }
        }
    }
}
