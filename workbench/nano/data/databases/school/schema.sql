CREATE TABLE teachers (
  teacher_id integer PRIMARY KEY,
  name text,
  department text,
  salary numeric(10,2),
  hired date
);
CREATE TABLE courses (
  course_id integer PRIMARY KEY,
  title text,
  teacher_id integer,
  level text,
  credits integer
);
CREATE TABLE students (
  student_id integer PRIMARY KEY,
  name text,
  grade_year integer,
  city text,
  birth_date date,
  club text
);
CREATE TABLE enrollments (
  enrollment_id integer PRIMARY KEY,
  student_id integer,
  course_id integer,
  score integer,
  enrolled date,
  passed boolean
);
-- courses.teacher_id can be joined with teachers.teacher_id
-- enrollments.student_id can be joined with students.student_id
-- enrollments.course_id can be joined with courses.course_id
