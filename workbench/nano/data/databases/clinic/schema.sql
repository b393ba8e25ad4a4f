CREATE TABLE doctors (
  doctor_id integer PRIMARY KEY,
  name text,
  specialty text,
  hire_date date,
  salary numeric(10,2)
);
CREATE TABLE patients (
  patient_id integer PRIMARY KEY,
  name text,
  city text,
  age integer,
  blood_type text,
  insurer text
);
CREATE TABLE appointments (
  appointment_id integer PRIMARY KEY,
  patient_id integer,
  doctor_id integer,
  visit_date date,
  status text,
  fee numeric(10,2),
  duration integer --minutes
);
CREATE TABLE treatments (
  treatment_id integer PRIMARY KEY,
  appointment_id integer,
  drug text,
  dose integer, --mg
  cost numeric(10,2)
);
-- appointments.patient_id can be joined with patients.patient_id
-- appointments.doctor_id can be joined with doctors.doctor_id
-- treatments.appointment_id can be joined with appointments.appointment_id
