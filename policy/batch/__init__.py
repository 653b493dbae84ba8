"""Folders of Parquet files in bounded memory: scored, planned, evaluated, sampled part by part."""
