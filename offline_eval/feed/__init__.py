"""A simulated feed with known truth: it makes randomised logs and rolls policies out."""

from offline_eval.feed.params import FEED_SCHEMA, FeedParams
from offline_eval.feed.record import simulate
from offline_eval.feed.rollout import RollOut, click_curve, roll_out

__all__ = ["FEED_SCHEMA", "FeedParams", "RollOut", "click_curve", "roll_out", "simulate"]
