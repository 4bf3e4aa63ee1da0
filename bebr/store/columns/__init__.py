"""Payloads as typed columns, from which filters are evaluated: made of the JSON texts when rows are sealed, and stored
beside them. They only make filters fast: what a filter means is said by `Filter.matches` of the payloads."""
