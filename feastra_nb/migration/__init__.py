"""The way from Feast's own online stores to ours, without a maintenance window: plan, copy, verify, switch, finish."""
