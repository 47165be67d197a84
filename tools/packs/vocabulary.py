"""Words chosen by hand for the packs of English, frequent and clear in sense. What is said of them is WordNet's."""

CATEGORIES = {  # a word of a synset → words to be found below it
    "edible fruit": """apple orange banana lemon lime pear peach plum cherry grape strawberry blueberry raspberry
        blackberry mango pineapple watermelon melon apricot fig kiwi grapefruit papaya cranberry avocado pomegranate
        tangerine""",
    "vegetable": """carrot potato onion tomato cabbage spinach broccoli lettuce pea bean cauliflower celery cucumber
        pumpkin asparagus turnip eggplant zucchini radish kale squash leek beet artichoke""",
    "tree": "oak pine maple elm willow birch cedar fir spruce beech poplar palm eucalyptus",
    "flower": "daisy sunflower orchid poppy carnation chrysanthemum peony petunia marigold",
    "furniture": "chair table bed sofa desk bench bookcase wardrobe couch stool dresser armchair cabinet cradle",
    "vehicle": """car truck bus bicycle motorcycle tractor taxi ambulance wagon sled tank cart carriage
        trolley tricycle bulldozer rocket""",
    "aircraft": "helicopter airplane jet glider balloon airliner",
    "ship": "tanker warship submarine destroyer freighter battleship",
    "boat": "canoe ferry kayak lifeboat gondola",
    "tool": "hammer saw screwdriver drill shovel wrench chisel rake pliers plow spade",
    "weapon": "sword gun rifle spear dagger pistol cannon bow missile lance musket shotgun",
    "musical instrument": """piano guitar violin trumpet drum flute clarinet harp cello saxophone banjo trombone
        accordion harmonica xylophone tuba mandolin bassoon oboe lute""",
    "garment": "shirt coat skirt sweater jacket trousers suit vest robe scarf jeans kimono swimsuit",
    "footwear": "shoe boot sandal slipper sneaker moccasin",
    "hat": "sombrero fedora bonnet",
    "building": """house church hotel school hospital theater restaurant skyscraper library temple
        cathedral farmhouse barn hotel tavern greenhouse""",
    "beverage": "coffee tea beer wine milk lemonade cocoa whiskey vodka champagne cider rum brandy gin",
    "metallic element": """iron gold silver copper zinc lead tin aluminum nickel mercury sodium potassium calcium
        magnesium titanium uranium platinum tungsten chromium cobalt""",
    "color": "red blue green yellow purple pink brown orange black white gray turquoise",
    "sport": """football basketball baseball tennis golf hockey soccer rugby volleyball boxing swimming wrestling
        gymnastics skiing skating badminton judo archery cricket surfing""",
    "body part": "arm leg hand foot head neck shoulder knee elbow finger toe ankle wrist chin ear nose",
    "organ": "heart liver lung kidney stomach eye tongue pancreas",
    "bone": "rib skull femur tibia fibula vertebra collarbone humerus",
    "container": "box bottle bucket basket barrel bag jar cup suitcase envelope purse mug",
    "disease": """cancer measles tuberculosis cholera influenza polio leprosy diabetes smallpox pneumonia
        asthma arthritis hepatitis""",
    "game": "chess poker checkers dominoes bingo tag billiards marbles bridge",
    "fabric": "silk cotton wool linen velvet denim nylon satin flannel cashmere polyester",
    "gem": "diamond ruby emerald sapphire pearl opal topaz amethyst garnet",
    "spice": "cinnamon ginger nutmeg clove",
    "herb": "basil parsley thyme oregano mint rosemary sage dill",
    "meat": "beef pork bacon ham steak veal mutton sausage venison",
    "cheese": "cheddar mozzarella ricotta",
    "bread": "bagel toast bun baguette",
    "cereal": "wheat rice barley oat corn millet",
    "dance": "waltz tango ballet polka samba rumba",
    "room": "kitchen bedroom bathroom classroom library nursery ballroom pantry",
    "relative": "uncle aunt cousin brother sister nephew niece grandfather grandmother",
    "scientist": "physicist chemist biologist geologist astronomer botanist psychologist economist",
    "musician": "pianist drummer guitarist violinist singer cellist",
    "science": "physics chemistry biology astronomy geology botany zoology psychology",
    "emotion": "anger fear joy love hate anxiety",
    "season": "spring summer autumn winter",
    "gas": "oxygen hydrogen nitrogen helium methane neon chlorine",
    "rock": "granite marble limestone sandstone basalt",
    "appliance": "oven refrigerator toaster dishwasher freezer microwave",
    "cutlery": "knife fork spoon",
    "jewelry": "necklace ring bracelet earring",
    "polygon": "triangle square pentagon hexagon octagon rectangle",
    "unit of measurement": "inch mile pound gallon meter kilogram liter acre yard volt watt",
    "monetary unit": "dollar euro yen peso rupee pound franc",
    "planet": "Mars Venus Jupiter Saturn Mercury Neptune Uranus",
    "stringed instrument": "viola harp ukulele sitar",
    "natural language": "French German Spanish Chinese Japanese Russian Arabic Latin Italian Portuguese",
    "religion": "Christianity Islam Buddhism Hinduism Judaism",
    "month": "January March July October December",
    "weather": "rain snow fog hail",
    "toy": "doll kite yo-yo teddy",
    "mathematics": "algebra geometry calculus arithmetic trigonometry",
}
# fmt: off
READABLE = {  # a word of a synset → what people say for it; every one that is above a word is a right answer
    "edible fruit": "fruit", "garment": "clothing", "metallic element": "metal", "beverage": "drink", "gem": "gemstone",
    "natural language": "language", "monetary unit": "currency", "unit of measurement": "unit", "jewelry": "jewelry",
    "cereal": "grain", "color": "color", "musical instrument": "musical instrument", "body part": "body part",
    "food": "food", "foodstuff": "food", "plant": "plant", "clothing": "clothing", "vehicle": "vehicle",
    "scientist": "scientist", "building": "building", "disease": "disease", "planet": "planet",
    "chemical element": "element", "alcohol": "alcohol", "headdress": "hat", "illness": "illness",
    "fabric": "fabric", "feeling": "feeling", "stone": "stone", "device": "device", "weapon": "weapon", "tree": "tree",
    "tableware": "tableware", "utensil": "utensil", "mathematics": "mathematics", "shape": "shape", "artist": "artist",
}
# fmt: on
# fmt: off
OTHER_CATEGORY_NAMES = {
    "drink": ("beverage",), "clothing": ("garment", "clothes", "piece of clothing"), "color": ("colour",),
    "musical instrument": ("instrument",), "gemstone": ("gem", "jewel", "precious stone"),
    "shape": ("geometric shape",),
    "furniture": ("piece of furniture",), "body part": ("part of the body",), "unit": ("unit of measurement",),
    "grain": ("cereal",), "jewelry": ("jewellery", "piece of jewelry"), "bread": ("type of bread",),
    "mathematics": ("math", "maths", "branch of mathematics"), "feeling": ("emotion",), "emotion": ("feeling",),
    "currency": ("unit of currency",), "disease": ("illness",), "science": ("branch of science",),
    "tool": ("hand tool",),
    "boat": ("watercraft",), "ship": ("watercraft",), "aircraft": ("flying machine",), "metal": ("element",),
}
# fmt: on
ANIMALS = {
    "mammal": """dog cat horse cow pig sheep goat lion tiger bear wolf fox deer elephant monkey rabbit mouse rat
        squirrel whale dolphin bat giraffe zebra camel donkey kangaroo gorilla chimpanzee hamster leopard cheetah
        jaguar panther hippopotamus rhinoceros moose elk otter beaver badger raccoon skunk porcupine hedgehog koala
        panda seal walrus
        buffalo bison antelope gazelle llama mule ox baboon orangutan hyena jackal coyote weasel ferret mole
        opossum sloth armadillo platypus anteater reindeer boar hare lynx cougar""",
    "bird": """eagle hawk owl duck goose chicken turkey pigeon dove swan crow raven robin sparrow penguin parrot ostrich
        peacock flamingo pelican stork heron crane woodpecker hummingbird canary falcon vulture seagull swallow finch
        cuckoo nightingale quail pheasant magpie albatross kingfisher rooster hen emu toucan""",
    "fish": """salmon trout tuna shark cod herring goldfish carp eel catfish sardine bass mackerel halibut piranha
        swordfish stingray perch pike haddock sturgeon anchovy""",
    "insect": """ant bee butterfly mosquito beetle moth wasp grasshopper dragonfly cockroach cricket ladybug termite
        flea louse hornet firefly mantis locust fly""",
    "reptile": "snake lizard crocodile alligator turtle tortoise cobra python iguana chameleon gecko viper rattlesnake",
    "amphibian": "frog toad salamander newt",
    "arachnid": "spider scorpion tick tarantula mite",
    "crustacean": "crab lobster shrimp crayfish barnacle",
    "mollusk": "snail oyster clam octopus squid slug mussel scallop",
}
OPPOSITES = """
up down, more less, new old, good bad, first last, right left, right wrong, long short, same different, high low,
better worse, best worst, big little, sure unsure, real unreal, public private, top bottom, full empty, hard soft,
large small, white black, near far, open shut, open closed, general specific, most least, early late, young old,
single double, south north, east west, true false, known unknown, lost found, past future, possible impossible,
happy unhappy, light heavy, light dark, major minor, easy difficult, front back, clear unclear, inside outside,
beautiful ugly, strong weak, similar dissimilar, common uncommon, alive dead, present absent, certain uncertain,
hot cold, cool warm, fast slow, forward backward, natural artificial, complete incomplete, related unrelated,
rich poor, written spoken, foreign domestic, legal illegal, simple complex, popular unpopular, safe dangerous,
deep shallow, crooked straight, married unmarried, normal abnormal, western eastern, female male, fair unfair,
positive negative, clean dirty, wide narrow, regular irregular, physical mental, stupid smart,
successful unsuccessful, active inactive, active passive, independent dependent, senior junior, direct indirect,
necessary unnecessary, sweet sour, happy unhappy, effective ineffective, primary secondary,
responsible irresponsible, fat thin, thick thin, northern southern, powerful powerless, healthy unhealthy,
fresh stale, wild tame, correct incorrect, proud humble, lucky unlucky, patient impatient, wet dry, evil good,
honest dishonest, solid liquid, ill well, proper improper, useful useless, willing unwilling, cheap expensive,
maximum minimum, internal external, equal unequal, quiet noisy, urban rural, friendly unfriendly, secure insecure,
bright dull, capable incapable, conservative liberal, familiar unfamiliar, guilty innocent, relevant irrelevant,
able unable, armed unarmed, careful careless, reasonable unreasonable, typical atypical, accurate inaccurate,
tight loose, exclusive inclusive, former latter, interior exterior, absolute relative, attractive unattractive,
loud soft, tall short, valuable worthless, wise foolish, inner outer, rough smooth, consistent inconsistent,
practical impractical, stable unstable, moral immoral, offensive defensive, sensitive insensitive,
superior inferior, violent nonviolent, formal informal, concrete abstract, plain fancy, efficient inefficient,
employed unemployed, odd even, ordinary extraordinary, sane insane, organic inorganic, sudden gradual, intense mild,
visible invisible, valid invalid, asleep awake, automatic manual, objective subjective, grateful ungrateful,
brave cowardly, painful painless, sufficient insufficient, likely unlikely, awkward graceful, reliable unreliable,
mature immature, acceptable unacceptable, bold timid, civilian military, indoor outdoor, expected unexpected,
pleasant unpleasant, chronic acute, generous stingy, comfortable uncomfortable, accessible inaccessible,
conscious unconscious, infinite finite, convenient inconvenient, vertical horizontal, logical illogical,
meaningful meaningless, skilled unskilled, fortunate unfortunate, cooked raw, faithful unfaithful,
limited unlimited, tender tough, ethical unethical, rational irrational, adequate inadequate, voluntary involuntary,
compatible incompatible, harmful harmless, explicit implicit, competent incompetent, feminine masculine,
optimistic pessimistic, mortal immortal, desirable undesirable, hopeful hopeless, probable improbable,
definite indefinite, predictable unpredictable, maternal paternal, tangible intangible, upstairs downstairs,
here there, love hate, day night, yes no, war peace, hope despair, death birth, girl boy, man woman, friend foe,
question answer, child parent, son daughter, father mother, husband wife, king queen, brother sister, uncle aunt,
nephew niece, sound silence, success failure, pain pleasure, beginning end, safety danger, leader follower,
majority minority, supply demand, rise fall, strength weakness, winner loser, advantage disadvantage,
hardware software, presence absence, victory defeat, joy sorrow, comedy tragedy, wealth poverty, employer employee,
courage cowardice, import export, sunrise sunset, guilt innocence, happiness unhappiness, wisdom folly,
capitalism socialism, wholesale retail, defendant plaintiff, amateur professional, yin yang, come go, stop start,
open close, win lose, remember forget, hit miss, leave arrive, buy sell, include exclude, raise lower,
attack defend, increase decrease, sleep wake, agree disagree, accept reject, appear disappear, push pull,
enter exit, upload download, fill empty, laugh cry, succeed fail, hide show, lock unlock, encourage discourage,
hire fire, connect disconnect, expand contract, admit deny, praise criticize, enable disable, deposit withdraw,
attract repel, bless curse, freeze boil, permit forbid, strengthen weaken, borrow lend, float sink, shout whisper,
never ever, often rarely, above below, quickly slowly, partly wholly, publicly privately, happily sadly,
permanently temporarily, accidentally deliberately
"""
AGENTS = """
think thinker, work worker, love lover, use user, help helper, own owner, play player, read reader,
support supporter, believe believer, run runner, research researcher, win winner, watch watcher, buy buyer,
plan planner, program programmer, fight fighter, lead leader, view viewer, design designer, learn learner,
follow follower, drive driver, trade trader, vote voter, kill killer, lose loser, walk walker, listen listener,
build builder, mine miner, visit visitor, speak speaker, write writer, create creator, travel traveler,
tour tourist, sell seller, clean cleaner, train trainer, contract contractor, rule ruler, dance dancer,
protect protector, direct director, dream dreamer, drink drinker, shop shopper, interview interviewer,
murder murderer, ride rider, begin beginner, produce producer, garden gardener, farm farmer, fly flyer,
shoot shooter, smoke smoker, teach teacher, perform performer, bomb bomber, golf golfer, print printer, sing singer,
reform reformer, paint painter, survive survivor, operate operator, hunt hunter, defend defender, assist assistant,
participate participant, compete competitor, collect collector, rob robber, invest investor, explore explorer,
investigate investigator, edit editor, announce announcer, photograph photographer, climb climber, swim swimmer,
lecture lecturer, ski skier, dive diver, drum drummer, publish publisher, advise adviser, observe observer,
sail sailor, borrow borrower, negotiate negotiator, manufacture manufacturer, organize organizer, admire admirer,
employ employer, translate translator, educate educator, lend lender, bake baker, consume consumer, surf surfer,
entertain entertainer, interpret interpreter, gamble gambler, conquer conqueror, skate skater,
illustrate illustrator, preach preacher, navigate navigator, govern governor, wander wanderer, inspect inspector,
invent inventor, commute commuter, act actor, report reporter, manage manager, box boxer, bowl bowler, farm farmer,
cycle cyclist, type typist, instruct instructor, supervise supervisor, sculpt sculptor, conduct conductor,
compose composer, account accountant, serve servant, apply applicant
"""
QUALITIES = """
good goodness, great greatness, real reality, different difference, hard hardness, kind kindness,
important importance, able ability, possible possibility, happy happiness, human humanity, available availability,
ready readiness, clear clarity, similar similarity, complete completeness, serious seriousness, simple simplicity,
popular popularity, dark darkness, fair fairness, significant significance, fit fitness, stupid stupidity,
active activity, independent independence, necessary necessity, sweet sweetness, effective effectiveness,
responsible responsibility, sick sickness, complex complexity, sad sadness, fresh freshness, mental mentality,
healthy health, aware awareness, patient patience, mad madness, democratic democracy, excellent excellence,
electric electricity, ill illness, useful usefulness, willing willingness, weak weakness, equal equality,
pure purity, secure security, bright brightness, capable capability, familiar familiarity, creative creativity,
pregnant pregnancy, severe severity, brilliant brilliance, blind blindness, consistent consistency, sharp sharpness,
stable stability, moral morality, sensitive sensitivity, superior superiority, thick thickness, violent violence,
curious curiosity, innocent innocence, silent silence, confident confidence, efficient efficiency,
nervous nervousness, decent decency, insane insanity, intense intensity, visible visibility,
intelligent intelligence, reliable reliability, lonely loneliness, diverse diversity, lazy laziness,
neutral neutrality, noble nobility, dominant dominance, bitter bitterness, wealthy wealth, generous generosity,
conscious consciousness, mysterious mystery, convenient convenience, urgent urgency, immune immunity,
flexible flexibility, eternal eternity, humble humility, brutal brutality, hostile hostility, ignorant ignorance,
absent absence, dense density, furious fury, elegant elegance, competent competence, mortal mortality,
persistent persistence, obscure obscurity, sincere sincerity, reluctant reluctance, probable probability,
abundant abundance, arrogant arrogance, fertile fertility, scarce scarcity, prosperous prosperity,
tolerant tolerance, thirsty thirst, hungry hunger, wise wisdom, free freedom, warm warmth, deep depth, wide width,
long length, strong strength, young youth, true truth, honest honesty, beautiful beauty, brave bravery, angry anger,
proud pride, loyal loyalty, cruel cruelty, difficult difficulty, accurate accuracy, private privacy, vacant vacancy,
bankrupt bankruptcy, modest modesty
"""
DEEDS = """
state statement, please pleasure, try trial, pay payment, move movement, act action, include inclusion,
present presentation, add addition, enjoy enjoyment, sign signature, create creation, expect expectation,
consider consideration, agree agreement, judge judgment, ship shipment, imagine imagination, protect protection,
explain explanation, avoid avoidance, accept acceptance, appear appearance, receive reception, realize realization,
separate separation, apply application, correct correction, improve improvement, prevent prevention,
decide decision, require requirement, develop development, suggest suggestion, treat treatment, exist existence,
reduce reduction, mix mixture, remove removal, express expression, discuss discussion, perform performance,
measure measurement, determine determination, fail failure, recommend recommendation, register registration,
admit admission, replace replacement, represent representation, achieve achievement, assume assumption,
prefer preference, describe description, identify identification, promote promotion, attend attendance,
prepare preparation, manage management, destroy destruction, survive survival, quote quotation, suspect suspicion,
operate operation, celebrate celebration, repeat repetition, argue argument, establish establishment,
encourage encouragement, select selection, reveal revelation, participate participation, confirm confirmation,
compete competition, refuse refusal, arrive arrival, connect connection, collect collection, introduce introduction,
settle settlement, indicate indication, contribute contribution, deny denial, extend extension, commit commitment,
invest investment, define definition, explore exploration, investigate investigation, invite invitation,
relax relaxation, involve involvement, announce announcement, vary variation, relate relation, delete deletion,
permit permission, attract attraction, communicate communication, demonstrate demonstration, resist resistance,
adopt adoption, preserve preservation, cancel cancellation, examine examination, restore restoration,
react reaction, eliminate elimination, inform information, combine combination, divide division, convert conversion,
publish publication, disagree disagreement, approve approval, predict prediction, adjust adjustment,
assess assessment, concentrate concentration, observe observation, accomplish accomplishment, declare declaration,
detect detection, interact interaction, retire retirement, donate donation, transform transformation,
differ difference, elect election, reject rejection, possess possession, subscribe subscription,
evaluate evaluation, arrange arrangement, inspire inspiration, negotiate negotiation, propose proposal,
adapt adaptation, construct construction, expose exposure, organize organization, satisfy satisfaction,
admire admiration, resign resignation, employ employment, punish punishment, oppose opposition,
translate translation, educate education, conclude conclusion, bury burial, emerge emergence, recruit recruitment,
consume consumption, calculate calculation, analyze analysis, entertain entertainment, obey obedience,
confess confession, persuade persuasion
"""
YOUNG = """
dog puppy, cat kitten, sheep lamb, goat kid, deer fawn, cattle calf, horse foal, goose gosling, swan cygnet,
duck duckling, lion cub, bear cub, wolf cub, pig piglet, hen chick, chicken chick, eagle eaglet, owl owlet,
eel elver, cow calf, fox cub
"""
SEXES = """
king queen, father mother, man woman, boy girl, husband wife, brother sister, uncle aunt, nephew niece,
son daughter, male female, nobleman noblewoman, actor actress, waiter waitress, host hostess, prince princess,
emperor empress, duke duchess, hero heroine, lion lioness, tiger tigress, god goddess, heir heiress,
steward stewardess, widower widow, bachelor spinster, groom bride, grandfather grandmother, stepfather stepmother,
policeman policewoman, businessman businesswoman, lord lady, bull cow, rooster hen, stallion mare, ram ewe,
boar sow, wizard witch, monk nun, master mistress, count countess, baron baroness, landlord landlady, poet poetess,
leopard leopardess, masseur masseuse
"""
NOUNS = """
man woman child company country story family party foot city class community body business lady facility agency baby
copy industry enemy university hero box century category witness coach leaf branch sheep library address dish
boundary watch ally entry mouse potato wife society celebrity tooth battery dress bus territory wolf minority beach
variety factory reply colony boss economy utility apology tomato switch knife charity buddy lens sandwich shelf
frequency virus commodity laboratory deputy treaty sketch spy butterfly trophy grocery puppy witch diary ministry
bush brush campus berry businessman galaxy secretary actress assembly documentary bench fox lunch controversy
freshman academy princess parish summary fairy grass cherry commentary biography cemetery thesis bunny hypothesis
directory dictionary ferry genius embassy lily chairman candy jury ditch conspiracy goddess nursery lobby dynasty
couch canvas anniversary belly ranch navy buffalo porch circus moss cargo curry dairy presidency year day guy friend
word month week player hour member girl hand area book question term system school boy eye student kid minute team
line product picture fan name report record law car rate character officer comment star song source note leader
nation video movie standard dog patient card cell site teacher side order form account figure arm house piece window
article sign plant building bank brother tree user head organization artist street gun letter leg post owner film
position store moment page wall vehicle human customer field return answer bird ticket face adult communication
device scene item parent room partner driver candidate tool victim road ship doctor agent writer tip date door
message weapon region seat season bill ball representative expert decade club cover statement son island station
mountain champion document employee author office meeting structure session finger night manager court machine hill
cat file egg soldier phone director network track horse client wing ground stage sister drink block winner bag
worker center language judge map reference guest flower king title demand engineer institution contract actor town
key lawyer consumer citizen list rock goose half loaf calf scarf life echo mosquito volcano crisis analysis
oasis phenomenon criterion louse monkey donkey apple elephant elf bacterium stimulus nucleus
"""
VERBS = """
have do make get say find put let think set read tell take go come hit see leave give cut know win hold bring become
feel pay lead send meet lose build write beat keep sell spend fit mean hurt buy run catch break fall begin rise
spread cast shut shoot grow stick teach split sit forget speak upset understand stand choose quit fight seek throw
draw strike drive eat bite wear shed wake hang steal deal sleep fly burst blow sing shake bend drink sweep grind
ride dig thrust hide breed lend arise ring withdraw tear sink spin dive slide swear swing freeze spring swim spit
speed shine awake mistake leap forgive use call start want ask play hear happen need work try look turn add kill
change die follow release include provide create move allow love report consider design continue expect name end
pass increase finish close help live cause show offer place open learn sign reach receive stop agree force miss
cover appear return seem serve decide produce require complete carry like believe present develop raise state order
issue join drop mention watch pick enter treat remove fix limit plan list note support form share suggest surprise
save walk accept pull apply record perform focus advance claim reduce mix fill fire notice worry score launch
determine talk vote charge remain improve grant fail direct control enjoy explain realize affect train describe
identify suppose update replace arrest deliver prepare check link manage stay represent attack express register
conduct destroy recognize protect detail age mark visit recommend study gain file promise admit achieve test prove
earn purchase attend tie occur point establish schedule discuss contain compare refer select suffer push lock reveal
hand attempt dress capture ban print confirm hire marry obtain figure cost bet wait act exist
date shop hope listen trade laugh cry wonder ship smoke paint dance burn operate roll process cook hunt land clean
handle search regard monitor cross struggle defend rule promote involve travel challenge count edit weave creep
weep sling cling flee forbid foresee overcome undergo undertake outgrow lay kneel shrink sew sow swell slay strive
tread stink wring sting feed bleed spill sneak
"""
ADJECTIVES = """
good bad high long low early great large small easy big close young fast hard strong deep strange wide short cheap
light safe happy broad slow cool new dark quick smart clean weak heavy simple loud healthy full warm clear bright
tall rich tough nice hot poor thick tight thin cold soft wise wild funny fine smooth quiet pretty sweet kind narrow
sharp green strict dry crazy fair fat harsh rare wealthy fresh weird scary sad bold dense busy cute wet steep brave
ugly rough grand sick friendly mean proud lucky dirty holy pure mighty stupid nasty lazy curly noisy hungry thirsty
angry tiny shiny gentle noble ripe pale cloudy windy sunny greedy silly salty tasty shallow juicy fluffy
"""
ADVERBS = """
real really, actual actually, probable probably, exact exactly, usual usually, current currently, simple simply,
recent recently, certain certainly, complete completely, quick quickly, absolute absolutely, immediate immediately,
particular particularly, serious seriously, clear clearly, easy easily, literal literally, direct directly,
full fully, high highly, eventual eventually, true truly, previous previously, total totally, apparent apparently,
obvious obviously, entire entirely, honest honestly, original originally, relative relatively,
specific specifically, proper properly, slow slowly, typical typically, unfortunate unfortunately,
perfect perfectly, ultimate ultimately, frequent frequently, sure surely, heavy heavily, significant significantly,
close closely, constant constantly, official officially, automatic automatically, regular regularly,
effective effectively, initial initially, necessary necessarily, primary primarily, strong strongly,
careful carefully, successful successfully, deep deeply, essential essentially, rare rarely, equal equally,
occasional occasionally, potential potentially, common commonly, incredible incredibly, mere merely, rapid rapidly,
great greatly, physical physically, similar similarly, public publicly, virtual virtually, consistent consistently,
exclusive exclusively, active actively, different differently, subsequent subsequently, brief briefly,
gradual gradually, legal legally, repeated repeatedly, mental mentally, precise precisely, sole solely,
partial partially, sad sadly, simultaneous simultaneously, annual annually, happy happily, local locally,
open openly, genuine genuinely, poor poorly, severe severely, technical technically, important importantly,
surprising surprisingly, thorough thoroughly, gentle gently, historical historically, permanent permanently,
separate separately, free freely, nice nicely, alleged allegedly, independent independently, political politically,
temporary temporarily, traditional traditionally, frank frankly, emotional emotionally, reasonable reasonably,
deliberate deliberately, formal formally, private privately, special specially, considerable considerably,
firm firmly, kind kindly, accurate accurately, desperate desperately, financial financially,
continuous continuously, fortunate fortunately, random randomly, explicit explicitly, light lightly,
social socially, substantial substantially, dramatic dramatically, international internationally,
beautiful beautifully, lucky luckily, individual individually, inevitable inevitably, positive positively,
sincere sincerely, critical critically, extensive extensively, illegal illegally
"""
