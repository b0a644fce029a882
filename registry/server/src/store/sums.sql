-- Sums that had outgrown their type could not be read; no counter is larger than this.
UPDATE minutes SET
  launches = CAST(min(launches, 9007199254740991) AS INTEGER),
  beacons = CAST(min(beacons, 9007199254740991) AS INTEGER),
  calls = CAST(min(calls, 9007199254740991) AS INTEGER),
  errors = CAST(min(errors, 9007199254740991) AS INTEGER),
  slow_500 = CAST(min(slow_500, 9007199254740991) AS INTEGER),
  slow_2000 = CAST(min(slow_2000, 9007199254740991) AS INTEGER),
  crashes = CAST(min(crashes, 9007199254740991) AS INTEGER),
  crash_loops = CAST(min(crash_loops, 9007199254740991) AS INTEGER),
  kills = CAST(min(kills, 9007199254740991) AS INTEGER);
