"""Bytes in and out; decides nothing."""
