-- What is forgotten is found by its age, without a look at the rest.
CREATE INDEX minutes_by_age ON minutes (minute);
CREATE INDEX answers_by_age ON answers (at);
