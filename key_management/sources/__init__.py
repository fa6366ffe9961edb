"""Where keys come from: drivers that fetch them from a QKD unit's key server."""
