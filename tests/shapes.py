"""The shapes of public data sets: files made by hand as those are written, and the command that imports each."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A data set's files, the command that imports them, and what must come out."""

    name: str
    files: Mapping[str, bytes]
    command: str
    holds: str
    """What the snapshot holds, as it is printed."""
    rows: str
    """How many rows there are, and what became of them, as it is printed."""
    read: str = ""
    """How a text file was found to be written, as it is printed; empty for other files."""
    says: tuple[str, ...] = ()
    """The other sentences, in order."""
    some: Mapping[Pair, tuple[float, int | None]] = field(default_factory=dict)
    """The weights and times of some users and items."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The titles of some items."""


def _shop() -> bytes:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table purchases (customer text, product text, bought text)")
        rows = [(f"customer {n % 4}", f"product {n % 5}", f"2026-01-{n + 1:02} 10:30:00") for n in range(20)]
        database.executemany("insert into purchases values (?, ?, ?)", rows)
        database.commit()
        return bytes(database.serialize())


def unused_types(column: str) -> str:
    """What is said of a column that seems to have event types."""
    advice = "If it says what users did, such as view or purchase, use --type"
    return f"Column {column} is not used. {advice} {column}."


def _lines(*lines: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    return "".join(line + end for line in lines).encode(encoding)


BOOK_RATINGS = _lines(
    '"User-ID";"ISBN";"Book-Rating"',
    '"276725";"034545104X";"0"', '"276726";"0155061224";"5"', '"276727";"0446520802";"0"',
    '"276729";"052165615X";"3"', '"276729";"0521795028";"6"', '"276733";"2080674722";"0"',
    '"276736";"3257224281";"8"', '"276737";"0600570967";"6"', '"276744";"038550120X";"7"',
    '"276745";"342310538";"10"', '"276746";"0425115801";"0"', '"276746";"0449006522";"0"',
    '"276747";"0060517794";"9"', '"276747";"0671537458";"9"', '"276748";"0747558167";"6"',
    '"276751";"3596218098";"8"', '"276754";"0684867621";"8"', '"276755";"0451166892";"5"',
    '"276762";"0380711524";"5"', '"276762";"3453092007";"8"',
    # Some ids have a quotation mark or a backslash, which is written with a backslash.
    '"276762";"\\"0380000059";"8"', '"276763";"0\\\\8041";"3"',
    end="\r\n", encoding="latin-1",
)  # fmt: skip
BOOKS = _lines(
    '"User-ID";"ISBN";"Book-Title"',
    '"1";"0195153448";"Classical Mythology"',
    '"2";"3257224281";"Der Verd\xe4chtige"',
    '"3";"0452264464";"Beloved (Plume Contemporary Fiction)"',
    '"4";"0609804618";"Our Dumb Century: The Onion Presents \\"100 Years\\"; Headlines"',
    '"5";"0745158498";"\\"Hi, I\'m God!\\""',
    *(f'"{n}";"{1000000 + n % 6}";"Title {n % 6}"' for n in range(6, 20)),
    end="\r\n", encoding="latin-1",
)  # fmt: skip
LASTFM_360K = _lines(
    "00000c289a1829a808ac09c00daf10bc3c4e223b\t3bd73256-3905-4f3a-97e2-8b341527f805\tbetty blowtorch\t2137",
    "00000c289a1829a808ac09c00daf10bc3c4e223b\tf2fb0ff0-5679-42ec-a55c-15109ce6e320\tdie Ärzte\t1099",
    "00000c289a1829a808ac09c00daf10bc3c4e223b\tb3ae82c2-e60b-4551-a76d-6620f1b456aa\tmelissa etheridge\t897",
    "00000c289a1829a808ac09c00daf10bc3c4e223b\t3d6bbeb7-f90e-4d10-b440-e153c0d10b53\telvenking\t717",
    # Some artists have no id; some names have a quotation mark.
    '00001411dc427966b17297bf4d69e7e193135d89\t\t"weird al" yankovic\t12',
    '00001411dc427966b17297bf4d69e7e193135d89\tbbd2ffd7-17f4-4506-8572-c1ea58c3f9a8\t12" mix\t31',
    # Nothing is quoted.
    '00001411dc427966b17297bf4d69e7e193135d89\tc0d2e2e4-0000-4a6c-a7b4-1f4e0e6c0b11\t"heroes\t5',
    '00001411dc427966b17297bf4d69e7e193135d89\t7746d775-9550-4360-b8d5-c37bd448ce01\t"weird al" yankovic\t7',
    *(f"0000{n % 4}4d2bb\ta3cb23fc-acd3-4ce0-8f36-1e5aa6a1843{n % 5}\tband {n % 5}\t{n + 1}" for n in range(14)),
)
LASTFM_1K = _lines(
    "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71-bd35-4e99-8624-24a6e15f133a\tDeep Dish\t\tFuck Me Im Famous",
    "user_000001\t2009-05-04T13:54:10Z\ta7f7df4a-77d8-4f12-8acd-5c60c93f4de8\t坂本龍一\t\tComposition 0919",
    "user_000001\t2009-05-04T13:52:04Z\t\tUnknown\t\tMc2 (Live_2009_4_15)",
    *(
        f'user_00000{n % 4 + 2}\t2008-01-{n + 10}T10:00:{n:02}Z\ta7f7df4a-0000-4f12-8acd-5c60c93f4de{n % 5}\t'
        f'Name {n % 5}\t\tThe "Song{n}'
        for n in range(15)
    ),
)  # fmt: skip
YOOCHOOSE = _lines(
    *(f"{n // 4 + 1},2014-04-07T10:5{n % 10}:09.868Z,21453650{n % 6},{'S' if n % 5 == 0 else n % 3}" for n in range(24))
)
RETAILROCKET = _lines(
    "timestamp,visitorid,event,itemid,transactionid",
    "1433221332117,257597,view,355908,",
    "1433224214164,992329,view,248676,",
    "1433221999827,111016,view,318965,",
    "1433221955914,483717,view,253185,",
    "1433222276276,599528,transaction,356475,4000",
    *(f"143322{n:07},{n % 4},{'addtocart' if n % 3 else 'view'},{n % 5 + 40}," for n in range(15)),
)
REES46 = _lines(
    "event_time,event_type,product_id,category_id,brand,price,user_id,user_session",
    "2019-11-01 00:00:00 UTC,view,1003461,2053013555631882655,xiaomi,489.07,520088904,4d3b30da",
    "2019-11-01 00:00:00 UTC,view,5000088,2053013566100866035,janome,293.65,530496790,8e5f4f83",
    "2019-11-01 00:00:01 UTC,cart,17302664,2053013553853497655,creed,28.31,561587266,755422e7",
    *(
        f"2019-11-01 00:0{n % 10}:07 UTC,view,10034{n % 5},20530135,,{n}.5,5615{n % 4},s{n}"
        for n in range(17)
    ),
)  # fmt: skip
SHOP_EVENTS = _lines(
    "visitor,product,event,at",
    "v1,tea,view,2026-01-01 10:00:00",
    "v1,tea,purchase,2026-01-01 10:05:00",
    "v1,cup,view,2026-01-01 10:06:00",
    "v2,tea,dislike,2026-01-01 10:07:00",
    *(f"v{n % 4},item {n % 5},{'purchase' if n % 3 else 'view'},2026-01-02 10:{n}:00" for n in range(10, 26)),
)
ONLINE_RETAIL = _lines(
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
    "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom",
    "536365,71053,WHITE METAL LANTERN,6,12/1/2010 8:26,3.39,17850,United Kingdom",
    '536366,22633,"HAND WARMER, UNION JACK",6,12/1/2010 8:28,1.85,17850,United Kingdom',
    "536367,84879,ASSORTED COLOUR BIRD ORNAMENT,32,12/1/2010 8:34,1.69,13047,United Kingdom",
    "536370,22728,ALARM CLOCK BAKELIKE PINK,24,12/1/2010 8:45,3.75,12583,France",
    "C536379,D,Discount,-1,12/1/2010 9:41,27.5,14527,United Kingdom",
    # A purchase and its cancellation; a return of a part.
    "541431,23166,MEDIUM CERAMIC TOP STORAGE JAR,74215,1/18/2011 10:01,1.04,12346,United Kingdom",
    "C541433,23166,MEDIUM CERAMIC TOP STORAGE JAR,-74215,1/18/2011 10:17,1.04,12346,United Kingdom",
    "C541500,84879,ASSORTED COLOUR BIRD ORNAMENT,-2,1/19/2011 9:00,1.69,13047,United Kingdom",
    # No customer, no description.
    "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom",
    "536544,21773,DECORATIVE ROSE BATHROOM BOTTLE,1,12/1/2010 14:32,2.51,,United Kingdom",
    '581492,POST,"POSTAGE \xa3",1,12/9/2011 10:03,18,12680,France',
    *(f"5817{n},2213{n % 5},MUG {n % 5},{n + 1},12/{n + 1}/2010 8:26,1.5,1260{n % 4},Germany" for n in range(12)),
    encoding="latin-1",
)
INSTACART = _lines("order_id,product_id,add_to_cart_order,reordered", *(
    f"{n // 4 + 2},{(n * 7) % 6 + 33120},{n % 4 + 1},{n % 2}" for n in range(24)
))  # fmt: skip
STEAM = _lines(
    "151603712,The Elder Scrolls V Skyrim,purchase,1.0,0",
    "151603712,The Elder Scrolls V Skyrim,play,273.0,0",
    "151603712,Fallout 4,purchase,1.0,0",
    "151603712,Fallout 4,play,87.0,0",
    '59945701,"Sid Meier\'s Civilization V, Gods",purchase,1.0,0',
    *(f"5310{n % 4},Game {n % 5},{'play' if n % 2 else 'purchase'},{n + 1}.{n % 3},0" for n in range(15)),
)
MIND = _lines(
    "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782 N34694\tN55689-1 N35729-0",
    "2\tU91836\t11/12/2019 6:11:30 PM\tN31739 N6072\tN20678-0 N39317-1 N58114-1",
    "3\tU73700\t11/14/2019 7:01:48 AM\t\tN50014-0 N23877-1",
    *(f"{n}\tU{n % 4}\t11/1{n % 4}/2019 5:2{n % 9}:05 AM\tN{n}\tN{n % 5 + 100}-1 N{n}-0" for n in range(4, 16)),
)
KUAIREC = _lines(
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio",
    "14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.7221",
    "14,183,11635,6100,2020-07-05 05:28:00.057,20200705.0,1593898080.057,1.9074",
    # Some times are missing.
    "14,3649,22422,10867,,,,2.0633",
    *(f"{n % 4},{n % 5},{n}00,6067,2020-07-05 05:2{n % 9}:48.1,20200705,1593898{n:03}.1,0.{n + 1}" for n in range(17)),
)  # fmt: skip
NETFLIX = _lines(
    "1:", "1488844,3,2005-09-06", "822109,5,2005-05-13", "885013,4,2005-10-19", "30878,4,2005-12-26",
    "2:", "1488844,3,2005-09-06", "822109,5,2005-05-13", "2059652,4,2005-09-05", "1666394,3,2005-04-19",
    "3:", "1488844,4,2005-03-05",
)  # fmt: skip
AMAZON_RATINGS = _lines(
    "A3AF8FFZAZYNE5,0000000078,5.0,1092182400", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600",
    "A2IIIDRK3PRRZY,0000000116,1.0,1395619200", "A1TADCM7YWPQ8M,0000000868,4.0,1031702400",
    *(f"AWGH{n % 4},00000137{n % 5:02},{n % 5 + 1}.0,13833{n:05}" for n in range(16)),
)  # fmt: skip
JESTER = _lines(*(
    ",".join([f"{n + 70}", *("99" if (n + i) % 3 else f"{n * i % 19 - 9}.{n}" for i in range(100))]) for n in range(12)
))  # fmt: skip
EPINIONS = _lines(
    "# Directed graph (each unordered pair of nodes is saved once): soc-Epinions1.txt",
    "# Directed Epinions social network",
    "# Nodes: 75879 Edges: 508837",
    "# FromNodeId\tToNodeId",
    *(f"{n % 5}\t{n % 4 + 4}" for n in range(20)),
)
EPINIONS_RATINGS = _lines(*(f"  {n % 5 + 1} {n % 4 + 100}   {n % 5 + 1}" for n in range(20)))
ANIME = _lines(
    "user_id,anime_id,rating", *(f"{n % 5},{n % 8 * 4 + 20},{-1 if n % 4 == 0 else n % 10 + 1}" for n in range(30))
)
HM = _lines("t_dat,customer_id,article_id,price,sales_channel_id", *(
    f"2018-09-2{n % 10},000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8{n % 4},066354100{n % 5},0.0508{n},2"
    for n in range(20)
))  # fmt: skip
U_DATA = _lines(
    "196\t242\t3\t881250949", "186\t302\t3\t891717742", "22\t377\t1\t878887116", "244\t51\t2\t880606923",
    *(f"{n % 4 + 1}\t{n % 5 + 240}\t{n % 5 + 1}\t8812{n:05}" for n in range(16)),
)  # fmt: skip
U_ITEM = _lines(
    "242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|0|0|0",
    "302|L.A. Confidential (1997)|01-Jan-1997||http://us.imdb.com/M/title-exact?L%2EA%2E|0|0|0",
    "377|Heavyweights (1994)|01-Jan-1994||http://us.imdb.com/M/title-exact?Heavy|0|0|0",
    "51|Legends of the Fall (1994)|01-Jan-1994||http://us.imdb.com|0|0|0",
    "240|Mis\xe9rables, Les (1995)|01-Jan-1995||http://us.imdb.com|0|0|0",
    encoding="latin-1",
)
RATINGS_DAT = _lines(
    "1::1193::5::978300760", "1::661::3::978302109", "1::914::3::978301968",
    *(f"{n % 4 + 2}::{n % 5 + 1}::{n % 5 + 1}::9783{n:05}" for n in range(17)),
)  # fmt: skip
MOVIES_DAT = _lines(
    "1::Toy Story (1995)::Animation|Children's|Comedy", "2::Jumanji (1995)::Adventure",
    "661::James and the Giant Peach (1996)::Animation", "1193::Mis\xe9rables, Les (1995)::Drama",
    encoding="latin-1",
)  # fmt: skip
RATINGS_25M = _lines(
    "userId,movieId,rating,timestamp", "1,296,5.0,1147880044", "1,306,3.5,1147868817",
    *(f"{n % 4 + 2},{n % 5 + 1},{n % 5 + 1}.0,11478{n:05}" for n in range(18)),
)  # fmt: skip
MOVIES_25M = _lines(
    "movieId,title,genres", "1,Toy Story (1995),Adventure|Animation", '296,"American President, The (1995)",Comedy',
    '306,"""Great Performances"" Cats (1998)",Musical', "4,Pok\xe9mon (1998),Animation",
)  # fmt: skip
RECBOLE = _lines(
    "user_id:token\titem_id:token\trating:float\ttimestamp:float", "196\t242\t3\t881250949",
    *(f"{n % 4}\t{n % 5}\t{n % 5 + 1}\t8812{n:05}" for n in range(19)),
)  # fmt: skip
SPARK = _lines(*(f"{n % 4}::{n * 7 % 11}::{n % 3 + 1}::1424380312" for n in range(24)))
GOOGLE = _lines("gmap_id\tuser_id\trating\ttime", *(
    f"0x80c2c98c0e3c16fd:0x29ec8a728764fdf{n % 5}\t1.0169{n % 4}e+20\t{n % 5 + 1}\t15968{n:08}" for n in range(20)
))  # fmt: skip
GOOGLE_CSV = _lines(*(
    f"1014{n % 4}1823966841834,0x80c2c98c0e3c16fd:0x29ec8a728764fdf{n % 5},{n % 5 + 1},15968{n:08}" for n in range(20)
))  # fmt: skip
TAOBAO = _lines(
    "1,2268318,2520377,pv,1511544070", "1,2333346,2520771,pv,1511561733", "1,2576651,149192,cart,1511572885",
    *(f"{n % 4 + 2},{n % 5 + 38300},4181361,{'buy' if n % 4 == 0 else 'fav'},15116{n:05}" for n in range(17)),
)  # fmt: skip
CRITEO = _lines(
    "timestamp\tuid\tcampaign\tconversion\tconversion_timestamp\tconversion_id\tattribution\tclick\tcost\tcat1",
    *(f"{n * 60}\t2807336{n % 4}\t7355268{n % 5}\t{n % 2}\t-1\t-1\t0\t{n % 2}\t0.00001{n}\t5824233" for n in range(20)),
)
HETREC = _lines(
    "userID\tartistID\ttagID\tday\tmonth\tyear",
    *(f"{n % 4 + 2}\t{n % 5 + 52}\t{n + 13}\t1\t4\t2009" for n in range(20)),
)
DELICIOUS = _lines(
    "userID\tbookmarkID\ttagID\ttimestamp", *(f"{n % 4 + 8}\t{n % 5 + 1}\t{n}\t12894{n:05}000" for n in range(20))
)
BEER = _lines(
    "brewery_id,brewery_name,review_time,review_overall,review_aroma,review_profilename,beer_style,beer_name,beer_beerid",
    "10325,Vecchio Birraio,1234817823,1.5,2,stcules,Hefeweizen,Sausa Weizen,47986",
    '1075,"Caldera Brewing, ""Company""",1293735206,4,4.5,johnmichaelsen,Herbed / Spiced Beer,Cauldron DIPA,64883',
    # Some reviewers have no name; some reviews have a rating of zero.
    "1075,Caldera Brewing Company,1234817824,3,3,,IPA,Caldera IPA,64883",
    "1075,Caldera Brewing Company,1234817829,0,3,oline73,IPA,Caldera IPA,64883",
    *(
        f"1{n},Brauerei Möbius,12348{n:05},{n % 4 + 1}.5,3,taster {n % 4},Kölsch,Beer {n % 5},{n % 5}"
        for n in range(16)
    ),
)
FOURSQUARE = _lines(
    "470\t49bbd6c0f964a520f4531fe3\t4bf58dd8d48988d127951735\tArts Store\t40.7\t-74.0\t-240\t"
    "Tue Apr 03 18:00:09 +0000 2012",
    "979\t4a43c0aef964a520c6a61fe3\t4bf58\tCaf\xe9\t40.6\t-74.0\t-240\tTue Apr 03 18:00:25 +0000 2012",
    *(
        f"{n % 4}\t4c5cc7b485a1e21e00d3571{n % 5}\t4bf5\tBridge\t40.7\t-73.9\t-240\tWed Apr 04 18:02:{n:02} +0000 2012"
        for n in range(18)
    ),
    encoding="latin-1",
)  # fmt: skip
GOWALLA = _lines(*(f"{n % 4}\t2010-10-{n + 10}T23:55:27Z\t30.23\t-97.79\t{n % 5 + 22847}" for n in range(20)))
MOVIETWEETINGS = _lines(*(f"{n % 4 + 1}::0{n % 5 + 111161}::{n % 10 + 1}::13733{n:05}" for n in range(20)))
DOUBAN = _lines("用户,电影,评分", *(f"豆瓣{n % 4},电影{n % 5},{n % 5 + 1}" for n in range(20)), encoding="gbk")
RUSSIAN = _lines("пользователь;товар", *(f"Иван{n % 4};Чай {n % 5}" for n in range(20)), encoding="cp1251")
EXCEL_CSV = _lines("sep=;", "Kunde;Artikel;Menge", *(f"K{n % 4};A{n % 5};{n + 1}" for n in range(20)), end="\r\n")

RATINGS = _lines("user,item,stars,time,title", *(
    f"{n % 4 + 15},{n % 5 + 260},{n % 5 + 1},{1700000000 + n},Title {n % 5}" for n in range(20)
))  # fmt: skip

SHAPES = [
    Shape(
        name="a table with a header",
        files={"ratings.csv": RATINGS},
        command="reckoner import ratings.csv --user user --item item --weight stars --time time --title title",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        some={("15", "260"): (1.0, 1700000000000)},
        titles={"260": "Title 0"},
    ),
    Shape(
        name="Book-Crossing, ratings",
        files={"BX-Book-Ratings.csv": BOOK_RATINGS},
        command="reckoner import BX-Book-Ratings.csv --user User-ID --item ISBN --weight Book-Rating",
        holds="17 interactions of 13 users with 17 items",
        rows="22, 5 left out",
        read="semicolons, escaped by backslashes, utf-8, 22 rows",
        says=("5 rows left out: the weight is zero (lines 2, 4, 7, 12, 13)",),
        some={
            ("276762", '"0380000059'): (8.0, None),
            ("276763", "0\\8041"): (3.0, None),
            ("276726", "0155061224"): (5.0, None),
        },
    ),
    Shape(
        name="Book-Crossing, as a table with titles",
        files={"books.csv": BOOKS},
        command="reckoner import books.csv --user User-ID --item ISBN --title Book-Title",
        holds="19 interactions of 19 users with 11 items",
        rows="19",
        read="semicolons, escaped by backslashes, latin-1, 19 rows",
        titles={
            "0609804618": 'Our Dumb Century: The Onion Presents "100 Years"; Headlines',
            "0745158498": '"Hi, I\'m God!"',
            "3257224281": "Der Verdächtige",
        },
    ),
    Shape(
        name="Last.fm 360K",
        files={"usersha1-artmbid-artname-plays.tsv": LASTFM_360K},
        command="reckoner import usersha1-artmbid-artname-plays.tsv --user 1 --item 2 --title 3 --weight 4 --no-header",
        holds="21 interactions of 6 users with 12 items",
        rows="22, 1 left out",
        read="tabs, no quotes, no header, utf-8, 22 rows",
        says=("1 row left out: the item is empty (line 5)",),
        some={("00000c289a1829a808ac09c00daf10bc3c4e223b", "f2fb0ff0-5679-42ec-a55c-15109ce6e320"): (1099.0, None)},
        titles={
            "f2fb0ff0-5679-42ec-a55c-15109ce6e320": "die Ärzte",
            "bbd2ffd7-17f4-4506-8572-c1ea58c3f9a8": '12" mix',
            "7746d775-9550-4360-b8d5-c37bd448ce01": '"weird al" yankovic',
            "c0d2e2e4-0000-4a6c-a7b4-1f4e0e6c0b11": '"heroes',
        },
    ),
    Shape(
        name="Last.fm 1K",
        files={"plays.tsv": LASTFM_1K},
        command="reckoner import plays.tsv --user 1 --item 3 --time 2 --title 4 --no-header",
        holds="17 interactions of 5 users with 7 items",
        rows="18, 1 left out",
        read="tabs, no header, utf-8, 18 rows",
        says=("1 row left out: the item is empty (line 3)",),
        some={("user_000001", "f1b1cf71-bd35-4e99-8624-24a6e15f133a"): (1.0, 1241478537000)},
        titles={"a7f7df4a-77d8-4f12-8acd-5c60c93f4de8": "坂本龍一"},
    ),
    Shape(
        name="Yoochoose clicks",
        files={"yoochoose-clicks.dat": YOOCHOOSE},
        command="reckoner import yoochoose-clicks.dat --user 1 --item 3 --time 2 --no-header",
        holds="24 interactions of 6 users with 6 items",
        rows="24",
        read="commas, no header, utf-8, 24 rows",
        some={("1", "214536500"): (1.0, 1396867809868)},
    ),
    Shape(
        name="RetailRocket events",
        files={"events.csv": RETAILROCKET},
        command="reckoner import events.csv --user visitorid --item itemid",
        holds="20 interactions of 9 users with 10 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        says=(unused_types("event"),),
        some={("257597", "355908"): (1.0, 1433221332117), ("599528", "356475"): (1.0, 1433222276276)},
    ),
    Shape(
        name="REES46",
        files={"2019-Nov.csv": REES46},
        command="reckoner import 2019-Nov.csv --user user_id --item product_id --time event_time",
        holds="20 interactions of 7 users with 8 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        says=(unused_types("event_type"),),
        some={("520088904", "1003461"): (1.0, 1572566400000), ("561587266", "17302664"): (1.0, 1572566401000)},
    ),
    Shape(
        name="a shop's events",
        files={"shop-events.csv": SHOP_EVENTS},
        command="reckoner import shop-events.csv --user visitor --item product --time at --type event",
        holds="18 interactions of 4 users with 7 items",
        rows="20, 1 repeated",
        read="commas, utf-8, 20 rows",
        some={("v1", "tea"): (1.0, 1767261900000), ("v1", "cup"): (1.0, 1767261960000)},
    ),
    Shape(
        name="Online Retail",
        files={"online_retail.csv": ONLINE_RETAIL},
        command="reckoner import online_retail.csv --user CustomerID --item StockCode --title Description "
        "--weight Quantity --time InvoiceDate --repeats sum --nonpositive subtract",
        holds="18 interactions of 8 users with 11 items",
        rows="24, 1 repeated, 5 left out",
        read="commas, latin-1, 24 rows",
        says=(
            "3 rows left out: the weights of the user and the item sum to zero or below, such as '-1' (lines 7, 8, 9)",
            "2 rows left out: the user is empty (lines 11, 12)",
        ),
        some={
            ("17850", "85123A"): (6.0, 1291191960000),
            ("13047", "84879"): (30.0, 1295427600000),
            ("12680", "POST"): (1.0, 1323424980000),
        },
        titles={"POST": "POSTAGE £", "22633": "HAND WARMER, UNION JACK"},
    ),
    Shape(
        name="Instacart",
        files={"order_products__train.csv": INSTACART},
        command="reckoner import order_products__train.csv --user order_id --item product_id",
        holds="24 interactions of 6 users with 6 items",
        rows="24",
        read="commas, utf-8, 24 rows",
        some={("2", "33120"): (1.0, None)},
    ),
    Shape(
        name="Steam-200k",
        files={"steam-200k.csv": STEAM},
        command="reckoner import steam-200k.csv --user 1 --item 2 --weight 4 --repeats sum --no-header",
        holds="18 interactions of 6 users with 8 items",
        rows="20, 2 repeated",
        read="commas, no header, utf-8, 20 rows",
        some={("151603712", "Fallout 4"): (88.0, None), ("59945701", "Sid Meier's Civilization V, Gods"): (1.0, None)},
    ),
    Shape(
        name="MIND behaviors, as it is",
        files={"behaviors.tsv": MIND},
        command="reckoner import behaviors.tsv --user 2 --item 5 --time 3 --no-header",
        holds="15 interactions of 7 users with 15 items",
        rows="15",
        read="tabs, no header, utf-8, 15 rows",
        says=(
            "Most items look like lists, such as 'N100-1 N10-0', and a list is one item here. "
            "Write a row for each item of a list: docs/importing.md shows how a filter does.",
        ),
        some={("U73700", "N50014-0 N23877-1"): (1.0, 1573714908000)},
    ),
    Shape(
        name="KuaiRec",
        files={"big_matrix.csv": KUAIREC},
        command="reckoner import big_matrix.csv --item video_id --weight watch_ratio",
        holds="20 interactions of 5 users with 8 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        says=(
            "Skipped column timestamp: Not all its values are times, such as (missing). "
            "With --time timestamp such rows are left out.",
        ),
        some={("14", "148"): (0.722100019454956, None), ("14", "3649"): (2.0632998943328857, None)},
    ),
    Shape(
        name="Amazon reviews, ratings only",
        files={"ratings_Books.csv": AMAZON_RATINGS},
        command="reckoner import ratings_Books.csv --user 1 --item 2 --weight 3 --time 4 --no-header",
        holds="20 interactions of 8 users with 8 items",
        rows="20",
        read="commas, no header, utf-8, 20 rows",
        some={("A3AF8FFZAZYNE5", "0000000078"): (5.0, 1092182400000)},
    ),
    Shape(
        name="Epinions, trust",
        files={"soc-Epinions1.txt": EPINIONS},
        command="reckoner import soc-Epinions1.txt --user 1 --item 2 --no-header",
        holds="20 interactions of 5 users with 4 items",
        rows="20",
        read="tabs, no header, utf-8, 20 rows",
        some={("0", "4"): (1.0, None), ("4", "7"): (1.0, None)},
    ),
    Shape(
        name="Epinions, the same by its last comment",
        files={"soc-Epinions1.txt": EPINIONS},
        command="reckoner import soc-Epinions1.txt --user FromNodeId --item ToNodeId",
        holds="20 interactions of 5 users with 4 items",
        rows="20",
        read="tabs, utf-8, 20 rows",
        some={("0", "4"): (1.0, None), ("4", "7"): (1.0, None)},
    ),
    Shape(
        name="Epinions, ratings",
        files={"ratings_data.txt": EPINIONS_RATINGS},
        command="reckoner import ratings_data.txt --user 1 --item 2 --weight 3 --no-header",
        holds="20 interactions of 5 users with 4 items",
        rows="20",
        read="blanks, no header, utf-8, 20 rows",
        some={("1", "100"): (1.0, None)},
    ),
    Shape(
        name="Anime",
        files={"rating.csv": ANIME},
        command="reckoner import rating.csv --item anime_id --weight rating",
        holds="22 interactions of 5 users with 6 items",
        rows="30, 8 left out",
        read="commas, utf-8, 30 rows",
        says=("8 rows left out: the weight is below zero, such as '-1' (lines 2, 6, 10, 14, 18, ...)",),
        some={("1", "24"): (2.0, None)},
    ),
    Shape(
        name="H&M transactions",
        files={"transactions_train.csv": HM},
        command="reckoner import transactions_train.csv --user customer_id --item article_id --time t_dat",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        some={("000058a12d5b43e67d225668fa1f8d618c13dc232df0cad80", "0663541000"): (1.0, 1537401600000)},
    ),
    Shape(
        name="MovieLens 100K",
        files={"ml-100k/u.data": U_DATA, "ml-100k/u.item": U_ITEM},
        command="reckoner import ml-100k",
        holds="20 interactions of 8 users with 8 items",
        rows="20",
        read="tabs, no header, utf-8, 20 rows",
        some={("196", "242"): (1.0, 881250949000)},
        titles={"242": "Kolya (1996)", "240": "Misérables, Les (1995)"},
    ),
    Shape(
        name="MovieLens 1M",
        files={"ml-1m/ratings.dat": RATINGS_DAT, "ml-1m/movies.dat": MOVIES_DAT},
        command="reckoner import ml-1m --weight rating",
        holds="20 interactions of 5 users with 8 items",
        rows="20",
        read="double colons, no quotes, no header, utf-8, 20 rows",
        some={("1", "1193"): (5.0, 978300760000)},
        titles={"1193": "Misérables, Les (1995)"},
    ),
    Shape(
        name="MovieLens 25M",
        files={"ml-25m/ratings.csv": RATINGS_25M, "ml-25m/movies.csv": MOVIES_25M},
        command="reckoner import ml-25m",
        holds="20 interactions of 5 users with 7 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        some={("1", "296"): (1.0, 1147880044000)},
        titles={"296": "American President, The (1995)", "306": '"Great Performances" Cats (1998)'},
    ),
    Shape(
        name="RecBole",
        files={"ml-100k.inter": RECBOLE},
        command="reckoner import ml-100k.inter --weight rating",
        holds="20 interactions of 5 users with 6 items",
        rows="20",
        read="tabs, utf-8, 20 rows",
        some={("196", "242"): (3.0, 881250949000)},
    ),
    Shape(
        name="Spark's sample",
        files={"sample_movielens_ratings.txt": SPARK},
        command="reckoner import sample_movielens_ratings.txt --user 1 --item 2 --weight 3 --time 4 --no-header",
        holds="24 interactions of 4 users with 11 items",
        rows="24",
        read="double colons, no quotes, no header, utf-8, 24 rows",
        some={("0", "0"): (1.0, 1424380312000)},
    ),
    Shape(
        name="Google reviews, ratings only",
        files={"rating-Alabama.csv": GOOGLE_CSV},
        command="reckoner import rating-Alabama.csv --user 2 --item 1 --weight 3 --time 4 --no-header",
        holds="20 interactions of 5 users with 4 items",
        rows="20",
        read="commas, no header, utf-8, 20 rows",
    ),
    Shape(
        name="Taobao",
        files={"UserBehavior.csv": TAOBAO},
        command="reckoner import UserBehavior.csv --user 1 --item 2 --time 5 --no-header",
        holds="20 interactions of 5 users with 8 items",
        rows="20",
        read="commas, no header, utf-8, 20 rows",
        some={("1", "2268318"): (1.0, 1511544070000)},
    ),
    Shape(
        name="Criteo attribution",
        files={"criteo_attribution_dataset.tsv": CRITEO},
        command="reckoner import criteo_attribution_dataset.tsv --user uid --item campaign",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="tabs, utf-8, 20 rows",
        some={("28073360", "73552680"): (1.0, 0)},
    ),
    Shape(
        name="HetRec, Last.fm",
        files={"user_taggedartists.dat": HETREC},
        command="reckoner import user_taggedartists.dat --item artistID",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="tabs, utf-8, 20 rows",
        some={("2", "52"): (1.0, None)},
    ),
    Shape(
        name="HetRec, Delicious",
        files={"user_taggedbookmarks-timestamps.dat": DELICIOUS},
        command="reckoner import user_taggedbookmarks-timestamps.dat --item bookmarkID",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="tabs, utf-8, 20 rows",
        some={("8", "1"): (1.0, 1289400000000)},
    ),
    Shape(
        name="BeerAdvocate",
        files={"beer_reviews.csv": BEER},
        command="reckoner import beer_reviews.csv --user review_profilename --item beer_beerid --title beer_name "
        "--weight review_overall --time review_time",
        holds="18 interactions of 6 users with 7 items",
        rows="20, 2 left out",
        read="commas, utf-8, 20 rows",
        says=(
            "1 row left out: the user is empty (line 4)",
            "1 row left out: the weight is zero (line 5)",
        ),
        some={("stcules", "47986"): (1.5, 1234817823000)},
        titles={"47986": "Sausa Weizen"},
    ),
    Shape(
        name="Foursquare",
        files={"dataset_TSMC2014_NYC.txt": FOURSQUARE},
        command="reckoner import dataset_TSMC2014_NYC.txt --user 1 --item 2 --title 4 --time 8 --no-header",
        holds="20 interactions of 6 users with 7 items",
        rows="20",
        read="tabs, no header, latin-1, 20 rows",
        some={("470", "49bbd6c0f964a520f4531fe3"): (1.0, 1333476009000)},
        titles={"4a43c0aef964a520c6a61fe3": "Café"},
    ),
    Shape(
        name="Gowalla",
        files={"loc-gowalla_totalCheckins.txt": GOWALLA},
        command="reckoner import loc-gowalla_totalCheckins.txt --user 1 --item 5 --time 2 --no-header",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="tabs, no header, utf-8, 20 rows",
        some={("0", "22847"): (1.0, 1286754927000)},
    ),
    Shape(
        name="MovieTweetings",
        files={"movietweetings.dat": MOVIETWEETINGS},
        command="reckoner import movietweetings.dat --user 1 --item 2 --weight 3 --time 4 --no-header",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="double colons, no quotes, no header, utf-8, 20 rows",
        some={("1", "0111161"): (1.0, 1373300000000)},
    ),
    Shape(
        name="a Chinese table",
        files={"douban.csv": DOUBAN},
        command="reckoner import douban.csv --user 用户 --item 电影 --weight 评分 --encoding gb18030",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="commas, gb18030, 20 rows",
        some={("豆瓣0", "电影0"): (1.0, None)},
    ),
    Shape(
        name="a Russian table",
        files={"sales.csv": RUSSIAN},
        command="reckoner import sales.csv --user пользователь --item товар --encoding cp1251",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="semicolons, cp1251, 20 rows",
        some={("Иван0", "Чай 0"): (1.0, None)},
    ),
    Shape(
        name="a German spreadsheet as CSV",
        files={"verkauf.csv": EXCEL_CSV},
        command="reckoner import verkauf.csv --user Kunde --item Artikel --weight Menge",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="semicolons, utf-8, 20 rows",
        some={("K0", "A0"): (1.0, None)},
    ),
    Shape(
        name="a shop's database",
        files={"shop.db": _shop()},
        command='reckoner import "sqlite:///shop.db" --query '
        '"select customer as user_id, product as item_id, bought as time from purchases"',
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        some={("customer 0", "product 0"): (1.0, 1767263400000)},
    ),
]
