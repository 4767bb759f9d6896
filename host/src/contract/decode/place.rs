//! Where an event came from, as far as the callback, the event and the path say it.

use crate::contract::{Contract, Contracts, TopicRules};
use crate::event::TopicOrigin;
use crate::event::parse::Parsed;
use crate::name::{EventKey, Pubsub, Topic, derived_id};

/// Where an event came from, and the contracts that have rules for it.
pub struct Place<'c> {
    pub pubsub: Option<Pubsub>,
    pub topic: Option<Topic>,
    pub contracts: Vec<&'c Contract>,
}

impl<'c> Place<'c> {
    /// The callback's own words count first, then the event's, then the path.
    pub fn find(
        contracts: &'c Contracts,
        origin: &TopicOrigin,
        parsed: Option<&Parsed<'_>>,
    ) -> Self {
        let attribute = |name| parsed.and_then(|parsed| parsed.attribute(name));
        let pubsub = origin.pubsub.as_ref().map(Pubsub::as_str).or_else(|| attribute("pubsubname"));
        let topic = origin.topic.as_ref().map(Topic::as_str).or_else(|| attribute("topic"));
        let matching = |by_path: bool, is_loose: bool| {
            contracts.iter().filter_map(move |contract| {
                let fits = |given: Option<&str>, own: &str| {
                    given.map_or(by_path, |given| given == own) || is_loose
                };
                let rules = contract.topics.iter().find(|rules| {
                    fits(topic, rules.name.as_str()) && (!by_path || rules.path == origin.path)
                })?;
                fits(pubsub, contract.pubsub.as_str()).then_some((contract, rules))
            })
        };
        let found = [(false, false), (true, false), (true, true)].into_iter().find_map(
            |(by_path, is_loose)| {
                let (first, rules) = matching(by_path, is_loose).next()?;
                let same = |(contract, other): (&'c Contract, &TopicRules)| {
                    (contract.pubsub == first.pubsub && other.name == rules.name)
                        .then_some(contract)
                };
                let all = matching(by_path, is_loose).filter_map(same).collect();
                Some((first.pubsub.clone(), rules.name.clone(), all))
            },
        );
        match found {
            Some((pubsub, topic, contracts)) => {
                Self { pubsub: Some(pubsub), topic: Some(topic), contracts }
            }
            None => Self {
                pubsub: pubsub.and_then(|name| Pubsub::new(name).ok()),
                topic: topic.and_then(|name| Topic::new(name).ok()),
                contracts: Vec::new(),
            },
        }
    }

    pub fn key(&self, origin: &TopicOrigin, bytes: &[u8]) -> EventKey {
        EventKey::of(&self.identity(origin, bytes))
    }

    /// The id of an event that came without one.
    pub fn id(&self, origin: &TopicOrigin, bytes: &[u8]) -> String {
        derived_id(&self.identity(origin, bytes)).to_string()
    }

    fn identity<'a>(&'a self, origin: &'a TopicOrigin, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let Some(position) = &origin.position else {
            return vec![bytes];
        };
        let pubsub = self.pubsub.as_ref().map_or("", Pubsub::as_str);
        let topic = self.topic.as_ref().map_or("", Topic::as_str);
        vec![pubsub.as_bytes(), topic.as_bytes(), position.as_bytes()]
    }
}
