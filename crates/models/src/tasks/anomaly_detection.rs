//! How unlike the good examples a picture is, and where: a map of scores, one number for the whole, and what both are
//! worth. Nothing here has seen a faulty example before it is asked about one.
//!
//! A network answers with a map, the higher the stranger. The picture's score is the map's maximum, since a small
//! defect is as bad as a large one.

use super::calibration::temperature;
use super::image_classification::wilson;
use crate::ModelError;
use kindling_graph::{Answer, Graph, GraphError, Tensor, Weights};
use serde::{Deserialize, Serialize};

/// The node that makes the map.
pub(crate) const MAP: &str = "head.map";
/// The node that makes logits of the picture's score: the good class's, then the other's.
pub(crate) const LOGITS: &str = "head.logits";

/// What a model's scores on a split are worth. Shares lie in 0..=1; what cannot be computed for want of examples is left
/// out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Good examples.
    pub good: u64,
    /// Faulty examples.
    pub faulty: u64,
    /// The probability that a faulty picture scores higher than a good one (area under the ROC curve).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_auroc: Option<f64>,
    /// A picture that scores higher is called faulty.
    pub threshold: f64,
    /// Share of the good examples called faulty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<f64>,
    /// Its 95% interval (Wilson 1927).
    pub false_alarms_ci: [f64; 2],
    /// Share of the faulty examples called faulty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Its 95% interval.
    pub recall_ci: [f64; 2],
    /// One entry a kind of defect that there are examples of.
    pub per_kind: Vec<KindMetrics>,
}

/// The figures of one kind of defect, against all good examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindMetrics {
    /// Its name.
    pub kind: String,
    /// How many examples there are.
    pub support: u64,
    /// Share of them called faulty.
    pub recall: f64,
    /// As [`Metrics::image_auroc`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_auroc: Option<f64>,
}

/// A score above which pictures are called faulty, and what that promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// A picture that scores higher is called faulty.
    pub value: f64,
    /// The share of later good pictures that is called faulty at most on average, if they are drawn as the held-back
    /// ones were.
    pub false_alarms: f64,
}

/// A picture's score: the greatest number of its map. What is no number counts as strange beyond measure.
pub fn score(map: &[f32]) -> f32 {
    let greatest = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if map.iter().any(|v| v.is_nan()) { f32::INFINITY } else { greatest }
}

/// The probability that one of `faulty` is above one of `good`, equal ones counted half (Mann and Whitney 1947), which
/// is the area under the ROC curve; `None` if there are none of either.
pub fn auroc(good: &[f32], faulty: &[f32]) -> Option<f64> {
    if good.is_empty() || faulty.is_empty() {
        return None;
    }
    let mut all: Vec<(f32, bool)> = good.iter().map(|v| (*v, false)).chain(faulty.iter().map(|v| (*v, true))).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0u64, 0.0f64);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let high = equal.iter().filter(|(_, is)| *is).count() as u64;
        let low = equal.len() as u64 - high;
        won += high as f64 * (below as f64 + low as f64 / 2.0);
        below += low;
    }
    Some(won / (good.len() as f64 * faulty.len() as f64))
}

/// The lowest threshold that keeps false alarms at a rate, from good pictures that were held back from training; `None`
/// if there are none.
///
/// With `n` of them and `k` above the threshold, a further one is above it with a probability of at most
/// `(k + 1) / (n + 1)` (Vovk et al. 2005, conformal prediction). Where even `k = 0` promises less than was asked for, the
/// greatest score is taken, and [`Threshold::false_alarms`] says what it is good for.
pub fn threshold(held_back: &[f32], rate: f64) -> Option<Threshold> {
    let mut scores = held_back.to_vec();
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    let n = scores.len();
    // A little is added so that a rate such as 0.3 of 10 is 3 in spite of rounding.
    let allowed = (rate.clamp(0.0, 1.0) * (n as f64 + 1.0) + 1e-9).floor() as usize;
    let above = allowed.saturating_sub(1);
    let value = *scores.get(above).or(scores.last())?;
    // Equal scores stay below together, so that fewer than allowed may be above.
    let above = scores.iter().filter(|v| **v > value).count();
    Some(Threshold { value: f64::from(value), false_alarms: (above as f64 + 1.0) / (n as f64 + 1.0) })
}

/// Every figure but the pixels'. `None` in `kinds` is a good example, `Some` a defect's number in `names`; what has no
/// counterpart is left out.
///
/// # Shapes
/// `scores` and `kinds` `[N]`.
pub fn metrics(scores: &[f32], kinds: &[Option<usize>], names: &[String], threshold: f64) -> Metrics {
    let of = |wanted: &dyn Fn(Option<usize>) -> bool| -> Vec<f32> {
        scores.iter().zip(kinds).filter(|(_, kind)| wanted(**kind)).map(|(score, _)| *score).collect()
    };
    let alarms = |scores: &[f32]| scores.iter().filter(|v| f64::from(**v) > threshold).count() as u64;
    let share = |scores: &[f32]| (!scores.is_empty()).then(|| alarms(scores) as f64 / scores.len() as f64);
    let (good, faulty) = (of(&|kind| kind.is_none()), of(&|kind| kind.is_some()));
    let per_kind = names.iter().enumerate().filter_map(|(number, name)| {
        let ours = of(&|kind| kind == Some(number));
        let recall = share(&ours)?;
        let image_auroc = auroc(&good, &ours);
        Some(KindMetrics { kind: name.clone(), support: ours.len() as u64, recall, image_auroc })
    });
    Metrics {
        good: good.len() as u64,
        faulty: faulty.len() as u64,
        image_auroc: auroc(&good, &faulty),
        threshold,
        false_alarms: share(&good),
        false_alarms_ci: wilson(alarms(&good), good.len() as u64),
        recall: share(&faulty),
        recall_ci: wilson(alarms(&faulty), faulty.len() as u64),
        per_kind: per_kind.collect(),
    }
}

/// What is trained of a network: up to the map of how strange each place is, which is then its answer.
///
/// # Errors
/// [`ModelError`] if the network is not of a family that finds anomalies.
pub fn places(graph: &Graph) -> Result<Graph, ModelError> {
    let map = graph.nodes.iter().position(|node| node.name == MAP);
    let map = map.ok_or_else(|| GraphError::Graph("the network makes no map of how strange places are".into()))?;
    let nodes = graph.nodes[..=map].to_vec();
    let places = Graph { input: graph.input.clone(), nodes, output: map, answer: Answer::Map };
    places.validate()?;
    Ok(places)
}

/// How a score becomes the logits of the good class and the other: `-scale / 2 * (score - threshold)`, and the same without the
/// sign, so that what scores higher than the threshold is rather called faulty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The score of which it is undecided what it means.
    pub threshold: f32,
    /// How fast that changes.
    pub scale: f32,
}

impl Verdict {
    /// Scales so that probabilities mean what they say of examples of which it is known whether they are faulty.
    pub fn calibrated(threshold: f32, scores: &[f32], faulty: &[bool]) -> Self {
        let plain = Self { threshold, scale: 1.0 };
        let labels: Vec<usize> = faulty.iter().map(|is| usize::from(*is)).collect();
        let told = temperature(&plain.probabilities(scores), 2, &labels);
        Self { scale: (1.0 / told) as f32, ..plain }
    }

    /// # Shapes
    /// `[N]` to `[N, 2]`: of being good, of being faulty.
    pub fn probabilities(&self, scores: &[f32]) -> Vec<f32> {
        let both = |score: &f32| {
            let logit = self.scale * (score - self.threshold);
            [1.0 / (1.0 + logit.exp()), 1.0 / (1.0 + (-logit).exp())]
        };
        scores.iter().flat_map(both).collect()
    }

    /// The weights of a whole network, given those of its [`places`].
    ///
    /// # Errors
    /// [`ModelError`] if they are not of this network.
    pub fn complete(&self, graph: &Graph, places: &Weights) -> Result<Weights, ModelError> {
        let half = self.scale / 2.0;
        let mut weights = places.clone();
        weights.insert(format!("{LOGITS}.weight"), Tensor::new(vec![2, 1], vec![-half, half])?);
        let bias = half * self.threshold;
        weights.insert(format!("{LOGITS}.bias"), Tensor::new(vec![2], vec![bias, -bias])?);
        graph.check_weights(&weights)?;
        Ok(weights)
    }
}

/// The score that a picture's two probabilities were made of, but for scale and threshold: their log odds.
///
/// # Shapes
/// `[N, 2]` to `[N]`.
pub fn log_odds(probabilities: &[f32]) -> Vec<f32> {
    let odds = |pair: &[f32]| match pair {
        [good, faulty] => faulty.max(f32::MIN_POSITIVE).ln() - good.max(f32::MIN_POSITIVE).ln(),
        _ => f32::NAN,
    };
    probabilities.chunks_exact(2).map(odds).collect()
}

/// What a search chooses by: the area under the ROC curve of good pictures against the same with defects drawn on them; where
/// there are real faulty ones, the mean of that and theirs.
///
/// # Shapes
/// `scores`: those of `good` pictures, of the same spoiled, of real faulty ones.
pub fn choice(scores: &[f32], good: usize) -> f64 {
    let (clean, rest) = scores.split_at(good.min(scores.len()));
    let (spoiled, real) = rest.split_at(good.min(rest.len()));
    let found: Vec<f64> = [auroc(clean, spoiled), auroc(clean, real)].into_iter().flatten().collect();
    found.iter().sum::<f64>() / found.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn auroc_by_hand() {
        // Of the six pairs 3>1, 3>2 and 2>1 are won, 2=2 is half won, 0.5 loses both.
        close(auroc(&[1.0, 2.0], &[3.0, 2.0, 0.5]).unwrap(), 3.5 / 6.0);
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), Some(0.0));
        assert_eq!(auroc(&[1.0; 5], &[1.0; 3]), Some(0.5));
        assert_eq!(auroc(&[-0.0], &[0.0]), Some(0.5));
        assert_eq!(auroc(&[], &[1.0]), None);
        assert_eq!(auroc(&[1.0], &[]), None);
    }

    #[test]
    fn thresholds_by_hand() {
        let scores: Vec<f32> = (1..=9).map(|v| v as f32).collect();
        // Of 9 held back, 20% of 10 allow two ranks: one score may be above.
        let found = threshold(&scores, 0.2).unwrap();
        assert_eq!((found.value, found.false_alarms), (8.0, 0.2));
        let found = threshold(&scores, 0.3).unwrap();
        assert_eq!((found.value, found.false_alarms), (7.0, 0.3));
        // What nine cannot promise is not promised.
        let found = threshold(&scores, 0.01).unwrap();
        assert_eq!((found.value, found.false_alarms), (9.0, 0.1));
        let found = threshold(&scores, 1.0).unwrap();
        assert_eq!(found.value, 1.0);
        // Equal scores are not parted: two would be allowed above, but three are equal.
        let found = threshold(&[1.0, 5.0, 5.0, 5.0], 0.6).unwrap();
        assert_eq!((found.value, found.false_alarms), (5.0, 0.2));
        assert_eq!(threshold(&[], 0.1), None);
    }

    #[test]
    fn figures_by_hand() {
        let names = ["empty", "open", "torn"].map(String::from);
        let scores = [0.1, 0.2, 0.3, 0.6, 0.5, 0.9, 0.25];
        let kinds = [None, None, None, None, Some(0), Some(0), Some(2)];
        let m = metrics(&scores, &kinds, &names, 0.4);
        assert_eq!((m.good, m.faulty), (4, 3));
        // Pairs won: 0.5 over three, 0.9 over four, 0.25 over two, of twelve.
        close(m.image_auroc.unwrap(), 9.0 / 12.0);
        assert_eq!(m.false_alarms, Some(0.25));
        close(m.recall.unwrap(), 2.0 / 3.0);
        assert_eq!(m.recall_ci, wilson(2, 3));
        assert_eq!(m.per_kind.len(), 2);
        assert_eq!((m.per_kind[0].kind.as_str(), m.per_kind[0].support, m.per_kind[0].recall), ("empty", 2, 1.0));
        close(m.per_kind[0].image_auroc.unwrap(), 7.0 / 8.0);
        assert_eq!((m.per_kind[1].kind.as_str(), m.per_kind[1].recall), ("torn", 0.0));
        // A score equal to the threshold is no alarm.
        assert_eq!(metrics(&scores, &kinds, &names, 0.9f32.into()).recall, Some(0.0));
    }

    #[test]
    fn without_defects_there_is_no_recall() {
        let m = metrics(&[0.1, 0.2], &[None, None], &[], 0.15);
        assert_eq!((m.image_auroc, m.recall, m.false_alarms), (None, None, Some(0.5)));
        assert_eq!(m.recall_ci, [0.0, 1.0]);
        let text = serde_json::to_string(&m).unwrap();
        assert!(!text.contains("image_auroc"), "{text}");
        let back: Metrics = serde_json::from_str(&text).unwrap();
        assert_eq!((back.good, back.image_auroc, back.false_alarms), (2, None, Some(0.5)));
    }

    #[test]
    fn a_picture_is_as_strange_as_its_strangest_place() {
        assert_eq!(score(&[0.1, 0.7, -3.0]), 0.7);
        assert_eq!(score(&[0.1, f32::NAN]), f32::INFINITY);
    }

    #[test]
    fn a_verdict_is_a_classifier_of_the_map() {
        let genome = crate::default_genomes("separable-places").remove(0);
        let genome = kindling_spec::Genome { family: "separable-places".into(), params: genome };
        let graph = crate::build_graph(&genome, 2).unwrap();
        let part = places(&graph).unwrap();
        assert_eq!(part.output_shape().unwrap(), [1, 16, 16]);
        let weights = kindling_graph::random_weights(&part, 3).unwrap();
        let shape = [vec![3], graph.input.shape()].concat();
        let numbers: usize = shape.iter().product();
        let images =
            Tensor::new(shape, (0..numbers).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()).unwrap();
        let maps = kindling_graph::execute(&part, &weights, &images).unwrap();
        let scores: Vec<f32> = maps.data.chunks_exact(256).map(score).collect();
        let verdict = Verdict { threshold: 0.5, scale: 3.0 };
        let whole = verdict.complete(&graph, &weights).unwrap();
        let mut answers = kindling_graph::execute(&graph, &whole, &images).unwrap().data;
        super::super::image_classification::softmax(&mut answers, 2);
        for (a, b) in answers.iter().zip(verdict.probabilities(&scores)) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
        for (odds, score) in log_odds(&answers).iter().zip(&scores) {
            assert!((odds - 3.0 * (score - 0.5)).abs() < 1e-3 * (1.0 + odds.abs()), "{odds} of {score}");
        }
        assert!(verdict.complete(&graph, &Weights::new()).is_err());
        let other = kindling_spec::Genome { family: "plain".into(), params: crate::default_genomes("plain").remove(0) };
        assert!(places(&crate::build_graph(&other, 2).unwrap()).is_err());
    }

    #[test]
    fn what_is_chosen_by() {
        // Clean 0 and 1; spoiled 0.5 and 2: three of four pairs. Real 0.5: one of two.
        assert_eq!(choice(&[0.0, 1.0, 0.5, 2.0], 2), 0.75);
        assert_eq!(choice(&[0.0, 1.0, 0.5, 2.0, 0.5], 2), 0.625);
        assert_eq!(choice(&[], 0), 0.0);
    }

    #[test]
    fn probabilities_mean_what_they_say() {
        // Of a score of 1 three in four are faulty, of -1 one in four: log odds of ln 3 and -ln 3.
        let scores: Vec<f32> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let faulty: Vec<bool> = (0..400).map(|i| (i / 2 % 4 > 0) == (i % 2 == 0)).collect();
        let verdict = Verdict::calibrated(0.0, &scores, &faulty);
        assert!((verdict.scale - 3f32.ln()).abs() < 0.01, "{verdict:?}");
    }
}
