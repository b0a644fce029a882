//! The plan of a rollout, from what was typed.

use mpkg_fleet::{BasisPoints, Plan, Step, VersionRange};

use crate::cli::Steps;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;

/// The plan of these flags; what is not given is as in the default plan.
pub(crate) fn plan(steps: &Steps) -> Outcome<Plan> {
    let default = Plan::default();
    let defaults = default.steps();
    let percents: Vec<BasisPoints> = if steps.steps.is_empty() {
        defaults.iter().map(|step| step.percent).collect()
    } else {
        steps.steps.iter().map(|percent| percent.0).collect()
    };
    let count = percents.len();
    let bakes: Vec<u64> = steps.bake.iter().map(|bake| bake.0).collect();
    let bakes = stretch("--bake", &bakes, count, defaults.iter().map(|step| step.bake_s).collect())?;
    let votes =
        stretch("--votes", &steps.votes, count, defaults.iter().map(|step| step.min_votes).collect())?;
    let steps = percents.into_iter().zip(bakes).zip(votes);
    let steps = steps.map(|((percent, bake_s), min_votes)| Step { percent, bake_s, min_votes }).collect();
    Plan::new(steps).map_err(|error| {
        Failure::with_code(error.code(), Exit::Usage, error.to_string())
            .hint("Such as --steps 5,25,100 --bake 1h,4h,24h --votes 150,400,1000; votes do not fall.")
    })
}

/// A value for each step: those given, the one for all, or the defaults with those in the middle repeated.
fn stretch(flag: &str, given: &[u64], count: usize, defaults: Vec<u64>) -> Outcome<Vec<u64>> {
    match given {
        [] => Ok((0..count).map(|index| defaulted(&defaults, index, count)).collect()),
        [one] => Ok(vec![*one; count]),
        several if several.len() == count => Ok(several.to_vec()),
        several => {
            let message = format!("{flag} has {} values for {count} steps", several.len());
            Err(Failure::usage(message).hint("Give one for all steps, or one for each."))
        }
    }
}

fn defaulted(defaults: &[u64], index: usize, count: usize) -> u64 {
    let (first, middle, last) = (defaults.first(), defaults.get(1), defaults.last());
    let value = if index + 1 == count {
        last
    } else if index == 0 {
        first
    } else {
        middle
    };
    value.copied().unwrap_or_default()
}

/// Versions from one on, before another.
pub(crate) fn versions(
    (min_flag, below_flag): (&str, &str),
    min: Option<&str>,
    below: Option<&str>,
) -> Outcome<Option<VersionRange>> {
    if min.is_none() && below.is_none() {
        return Ok(None);
    }
    let wrong = |flag: &str, text: &str| {
        Failure::usage(format!("{flag} is `{text}`, not a version"))
            .hint("A version has three numbers, such as 1.2.0.")
    };
    let mut range = VersionRange::default();
    if let Some(text) = min {
        range.min = Some(text.parse().map_err(|_| wrong(min_flag, text))?);
    }
    if let Some(text) = below {
        range.below = Some(text.parse().map_err(|_| wrong(below_flag, text))?);
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(percents: &str, bake: &str, votes: &str) -> Outcome<Vec<(u16, u64, u64)>> {
        fn list<T: std::str::FromStr>(text: &str) -> Vec<T> {
            text.split(',').filter(|part| !part.is_empty()).filter_map(|part| part.parse().ok()).collect()
        }
        let steps = Steps { steps: list(percents), bake: list(bake), votes: list(votes) };
        let plan = plan(&steps)?;
        Ok(plan.steps().iter().map(|step| (step.percent.get(), step.bake_s, step.min_votes)).collect())
    }

    #[test]
    fn what_is_not_given_is_as_in_the_default_plan() {
        let default: Vec<_> =
            Plan::default().steps().iter().map(|it| (it.percent.get(), it.bake_s, it.min_votes)).collect();
        assert_eq!(steps("", "", "").unwrap(), default);
        let five = steps("1,5,10,50,100", "", "").unwrap();
        assert_eq!(five[3], (5_000, 4 * 3_600, 400));
        assert_eq!(five[4], (10_000, 24 * 3_600, 1_000));
        assert_eq!(steps("50,100", "1h,2h", "7").unwrap(), [(5_000, 3_600, 7), (10_000, 7_200, 7)]);
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        for (percents, bake, votes) in
            [("5,25", "", ""), ("25,5,100", "", ""), ("5,100", "1h,2h,3h", ""), ("5,100", "", "10,5")]
        {
            assert!(steps(percents, bake, votes).is_err(), "{percents} {bake} {votes}");
        }
    }

    #[test]
    fn versions_are_three_numbers() {
        let range = |min, below| versions(("--min-host", "--below-host"), min, below);
        assert_eq!(range(None, None).unwrap(), None);
        assert!(range(Some("1.2.0"), None).unwrap().unwrap().below.is_none());
        assert!(range(Some("1.2"), None).is_err());
    }
}
