"""Words with their inflected forms and opposites, for tasks that map a word to a word.

Few initial letters recur, so that the first letter is a class that held-out words share.
"""

from __future__ import annotations

_NOUNS = """band bell bird boat bone boot brick bridge button cake card cart chair cloud clock coin
    cup dog door doll drum duck desk farm flag flower fork frog lamp leaf/leaves lake lemon letter
    lock ladder map mask moon mountain mirror mill pan pear pen pillow pipe plate pond ring river
    road rock roof room rope ship shoe snake song spoon star tent tiger tower train tree turtle"""
_VERBS = """bake/baked/baking beg/begged/begging blink/blinked/blinking bring/brought/bringing
    build/built/building borrow/borrowed/borrowing call/called/calling climb/climbed/climbing
    collect/collected/collecting comb/combed/combing count/counted/counting cry/cried/crying
    dance/danced/dancing deny/denied/denying dig/dug/digging draw/drew/drawing
    drink/drank/drinking drop/dropped/dropping fall/fell/falling fill/filled/filling
    find/found/finding fly/flew/flying follow/followed/following forget/forgot/forgetting
    laugh/laughed/laughing learn/learned/learning leave/left/leaving lend/lent/lending
    listen/listened/listening look/looked/looking make/made/making march/marched/marching
    marry/married/marrying melt/melted/melting mix/mixed/mixing move/moved/moving
    paint/painted/painting pay/paid/paying play/played/playing pour/poured/pouring
    pray/prayed/praying push/pushed/pushing raise/raised/raising reach/reached/reaching
    rest/rested/resting ride/rode/riding run/ran/running rub/rubbed/rubbing
    sail/sailed/sailing see/saw/seeing sell/sold/selling sing/sang/singing
    sleep/slept/sleeping smile/smiled/smiling swim/swam/swimming take/took/taking
    talk/talked/talking teach/taught/teaching tell/told/telling throw/threw/throwing
    travel/travelled/travelling try/tried/trying touch/touched/touching burn/burned/burning
    carry/carried/carrying pack/packed/packing land/landed/landing"""
_ADJECTIVES = """big/small bright/dim clean/dirty bad/good broad/narrow deep/shallow dry/wet
    cheap/expensive false/true fat/thin fast/slow first/last full/empty long/brief loud/silent
    many/few light/dark more/less major/minor poor/rich modern/ancient calm/restless
    public/secret rough/smooth rude/polite real/fake raw/cooked sweet/bitter tall/short
    tame/wild strong/weak pretty/ugly sad/happy bold/timid crooked/straight lazy/busy
    dead/alive drunk/sober safe/dangerous hot/cold high/low open/closed early/late
    strange/familiar hard/soft young/old useful/useless brave/scared tight/loose
    simple/complicated guilty/innocent"""


def _plural(noun: str) -> tuple[str, str]:
    singular, _, irregular = noun.partition("/")
    return singular, irregular or f"{singular}s"


NOUNS = [_plural(noun) for noun in _NOUNS.split()]
"""(singular, plural)"""
VERBS = [tuple(verb.split("/")) for verb in _VERBS.split()]
"""(base, past, gerund)"""
ADJECTIVES = [tuple(pair.split("/")) for pair in _ADJECTIVES.split()]
"""(word, opposite), to be read both ways"""
