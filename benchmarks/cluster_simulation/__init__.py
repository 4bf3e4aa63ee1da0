"""A model of clusters that are larger than what there is, calibrated by real leaves and compared with them."""
