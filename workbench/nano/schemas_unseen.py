"""Two databases that training never sees: what the model does with a schema it has not learned."""

from __future__ import annotations

from workbench.nano.columns import Database, Table, cat, day, fk, flag, key, label, money, num

AIRLINE = Database(
    "airline",
    (
        Table("airports", "airport", "airports", 14, (
            key("airport_id"),
            label("name", "Heathrow|Gatwick|Orly|Schiphol|Arlanda|Barajas|Malpensa|Tegel|Kastrup|Logan|Newark|Dulles|"
                  "Pearson|Narita"),
            cat("country", "country", "countries", "Britain|France|Spain|Italy", "in {v}", "located in {v}"),
            num("gates", "number of gates", "numbers of gates", 8, 150, "with more than {v} gates",
                "with fewer than {v} gates"),
        )),
        Table("pilots", "pilot", "pilots", 30, (
            key("pilot_id"),
            label("name", "people"),
            cat("rank", "rank", "ranks", "captain|copilot|trainee", "of rank {v}"),
            num("hours", "number of flight hours", "numbers of flight hours", 100, 9000),
            day("hired_on", "hire date", "hire dates", "hired"),
        )),
        Table("flights", "flight", "flights", 120, (
            key("flight_id"),
            fk("pilot_id", "pilots", "flown by"),
            fk("airport_id", "airports", "to"),
            day("departure", "departure date", "departure dates", "departing"),
            num("distance", "distance", "distances", 200, 9000, note="kilometers"),
            money("fuel_cost", "fuel cost", "fuel costs", 500, 40000),
            cat("status", "status", "statuses", "landed|delayed|cancelled"),
        )),
    ),
)

LIBRARY = Database(
    "library",
    (
        Table("authors", "author", "authors", 20, (
            key("author_id"),
            label("name", "people"),
            cat("nationality", "nationality", "nationalities", "Irish|Polish|Greek|Swedish"),
            day("birth_date", "birth date", "birth dates", "born", gap=(1930, 1990)),
        )),
        Table("books", "book", "books", 40, (
            key("book_id"),
            label("title", "Silent River|Golden Tower|Lost Garden|Broken Mirror|Winter Road|Hidden Valley|Empty Harbor|"
                  "Paper Moon|Glass Forest|Stone Bridge|Red Lantern|Blue Horizon|Black Orchid|White Desert|Iron Crown|"
                  "Copper Sky|Velvet Night|Burning Field|Frozen Lake|Distant Shore|Last Train|First Light|Second Wind|"
                  "Third Door|Open Window|Closed Room|Long Shadow|Short Summer|High Water|Low Tide|Dark Mountain|"
                  "Bright Morning|Quiet Street|Loud Silence|Old Clock|New Island|Green Valley|Grey Wolf|Lonely Star|"
                  "Secret Map", "title", "titles"),
            fk("author_id", "authors", "written by"),
            cat("genre", "genre", "genres", "fantasy|crime|romance|history|poetry", "of the {v} genre"),
            num("pages", "number of pages", "numbers of pages", 60, 900, "with more than {v} pages",
                "with fewer than {v} pages"),
            money("price", "price", "prices", 3, 80, "costing more than {v}", "costing less than {v}", adds=False),
        )),
        Table("members", "member", "members", 45, (
            key("member_id"),
            label("name", "people"),
            cat("town", "town", "towns", "Bath|York|Leeds|Derby", "living in {v}", "from {v}"),
            flag("is_student", "who are students", "who are not students"),
        )),
        Table("loans", "loan", "loans", 130, (
            key("loan_id"),
            fk("book_id", "books", "of"),
            fk("member_id", "members", "made by"),
            day("loan_date", "loan date", "loan dates", "made"),
            day("return_date", "return date", "return dates", "returned", null=0.25, after="loan_date", gap=(2, 60)),
            money("fine", "fine", "fines", 0, 40),
        )),
    ),
)

UNSEEN = (AIRLINE, LIBRARY)
