"""VNF managers: bring instances up, watch their health, take them down."""
