"""Further training databases; see ``schemas.py``."""

from __future__ import annotations

from workbench.nano.columns import Database, Table, cat, day, fk, flag, key, label, money, num

LOGISTICS = Database(
    "logistics",
    (
        Table("warehouses", "warehouse", "warehouses", 12, (
            key("warehouse_id"),
            label("name", "Alpha|Bravo|Delta|Echo|Foxtrot|Gamma|Kilo|Lima|Omega|Sierra|Tango|Zulu"),
            cat("city", "city", "cities", "Hamburg|Antwerp|Rotterdam|Genoa", "in {v}", "located in {v}"),
            num("capacity", "capacity", "capacities", 200, 9000),
        )),
        Table("drivers", "driver", "drivers", 30, (
            key("driver_id"),
            label("name", "people"),
            cat("license", "license", "licenses", "B|C|D|E", "holding license {v}"),
            day("hired", "hire date", "hire dates", "hired"),
            flag("full_time", "who work full time", "who do not work full time"),
        )),
        Table("shipments", "shipment", "shipments", 140, (
            key("shipment_id"),
            fk("warehouse_id", "warehouses", "from"),
            fk("driver_id", "drivers", "driven by"),
            money("weight", "weight", "weights", 1, 900, "weighing more than {v}", "weighing less than {v}"),
            num("distance", "distance", "distances", 5, 1200),
            day("sent", "sending date", "sending dates", "sent"),
            day("delivered", "delivery date", "delivery dates", "delivered", null=0.2, after="sent", gap=(1, 25)),
        )),
        Table("parcels", "parcel", "parcels", 130, (
            key("parcel_id"),
            fk("shipment_id", "shipments", "in"),
            cat("content", "content", "contents", "books|food|toys|tools|glass", "containing {v}"),
            money("value", "value", "values", 3, 2000, "worth more than {v}", "worth less than {v}"),
            cat("priority", "priority", "priorities", "low|normal|high|urgent", "of {v} priority"),
        )),
    ),
)

HOTEL = Database(
    "hotel",
    (
        Table("guests", "guest", "guests", 50, (
            key("guest_id"),
            label("name", "people"),
            cat("country", "country", "countries", "Norway|Poland|Greece|Chile|India", "from {v}", "coming from {v}"),
            num("points", "number of points", "numbers of points", 0, 5000, "with more than {v} points",
                "with fewer than {v} points"),
            cat("tier", "tier", "tiers", "silver|gold|platinum", "of the {v} tier", null=0.3),
        )),
        Table("rooms", "room", "rooms", 30, (
            key("room_id"),
            cat("room_type", "room type", "room types", "single|double|suite|studio"),
            num("floor", "floor", "floors", 1, 9, "above floor {v}", "below floor {v}", adds=False),
            money("rate", "rate", "rates", 50, 500, "costing more than {v}", "costing less than {v}", adds=False),
            flag("has_balcony", "that have a balcony", "that do not have a balcony"),
        )),
        Table("bookings", "booking", "bookings", 140, (
            key("booking_id"),
            fk("guest_id", "guests", "made by"),
            fk("room_id", "rooms", "of"),
            day("check_in", "check-in date", "check-in dates", "starting"),
            day("check_out", "check-out date", "check-out dates", "ending", after="check_in", gap=(1, 14)),
            money("price", "price", "prices", 60, 3000, "costing more than {v}", "costing less than {v}"),
            cat("source", "source", "sources", "website|agency|phone|app", "from the source {v}"),
        )),
        Table("payments", "payment", "payments", 110, (
            key("payment_id"),
            fk("booking_id", "bookings", "for"),
            money("amount", "amount", "amounts", 20, 2500, "of more than {v}", "of less than {v}"),
            cat("method", "method", "methods", "card|cash|transfer", "made by {v}"),
            day("paid_on", "payment date", "payment dates", "made"),
        )),
    ),
)

SCHOOL = Database(
    "school",
    (
        Table("teachers", "teacher", "teachers", 14, (
            key("teacher_id"),
            label("name", "people"),
            cat("department", "department", "departments", "science|arts|languages|history", "in the {v} department"),
            money("salary", "salary", "salaries", 2500, 8000, "earning more than {v}", "earning less than {v}"),
            day("hired", "hire date", "hire dates", "hired"),
        )),
        Table("courses", "course", "courses", 24, (
            key("course_id"),
            label("title", "Algebra|Geometry|Calculus|Statistics|Biology|Chemistry|Physics|Astronomy|Painting|"
                  "Sculpture|Drama|Choir|French|Spanish|German|Latin|Ancient Rome|Modern Europe|Geography|Economics|"
                  "Robotics|Ecology|Poetry|Ceramics", "title", "titles"),
            fk("teacher_id", "teachers", "taught by"),
            cat("level", "level", "levels", "beginner|intermediate|advanced", "at the {v} level"),
            num("credits", "number of credits", "numbers of credits", 1, 12, "worth more than {v} credits",
                "worth less than {v} credits"),
        )),
        Table("students", "student", "students", 50, (
            key("student_id"),
            label("name", "people"),
            num("grade_year", "grade year", "grade years", 1, 12, adds=False),
            cat("city", "city", "cities", "Salem|Dover|Athens|Camden", "living in {v}", "from {v}"),
            day("birth_date", "birth date", "birth dates", "born", gap=(2004, 2013)),
            cat("club", "club", "clubs", "chess|drama|robotics", "in the {v} club", null=0.35),
        )),
        Table("enrollments", "enrollment", "enrollments", 150, (
            key("enrollment_id"),
            fk("student_id", "students", "of"),
            fk("course_id", "courses", "in"),
            num("score", "score", "scores", 20, 100, "scoring more than {v}", "scoring less than {v}", adds=False),
            day("enrolled", "enrollment date", "enrollment dates", "made"),
            flag("passed", "that were passed", "that were not passed"),
        )),
    ),
)
