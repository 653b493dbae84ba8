"""Boosters for one decision at a time: read from XGBoost's files without XGBoost."""
