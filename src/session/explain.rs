//! A network, a photograph's input and a request come in; maps go out, coarse at first.

use super::{Explained, MapRequest};
use crate::attribution::baseline::mean_of;
use crate::attribution::grad_cam::grad_cam;
use crate::attribution::integrated_gradients::{IntegratedGradients, Update};
use crate::attribution::{Attribution, AttributionError, Cancel, Method};
use crate::fundus::NetworkInput;
use crate::grading::Output;
use crate::nn::Executor;

/// A finished map, with what is needed to check it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The map.
    pub attribution: Attribution,
    /// What it explains, its class resolved.
    pub output: Output,
    /// Where its paths start, `[side, side, 3]`: the mean of the starts; black for Grad-CAM, which has none.
    pub baseline: Vec<f32>,
}

/// Makes the map asked for with `executor`, whose buffers are freed behind it.
pub fn explain(
    executor: Box<dyn Executor>,
    input: &NetworkInput,
    request: &MapRequest,
    cancel: &Cancel,
    hear: &mut dyn FnMut(Update),
) -> Result<Explanation, AttributionError> {
    let mut function = Explained::new(executor, request.output, &input.pixels)?;
    match request.method {
        Method::Ig => integrated_gradients(&mut function, input, request, cancel, hear),
        Method::GradCam => {
            let attribution = grad_cam(&mut function, &input.pixels, &input.mask, cancel)?;
            Ok(Explanation { baseline: vec![0.0; input.pixels.len()], output: function.output(), attribution })
        }
    }
}

fn integrated_gradients(
    function: &mut Explained,
    input: &NetworkInput,
    request: &MapRequest,
    cancel: &Cancel,
    hear: &mut dyn FnMut(Update),
) -> Result<Explanation, AttributionError> {
    let starts = request.baseline.starts(&input.pixels, &input.mask, input.side);
    let integral = IntegratedGradients { input: &input.pixels, starts: &starts, order: request.baseline.order() };
    let attribution = integral.run(function, request.stop, cancel, hear)?;
    Ok(Explanation { attribution, output: function.output(), baseline: mean_of(&starts) })
}
