"""Common English nouns that are one token each to the usual tokenizers.

Each is a single token, after a space and at the beginning of a text, in the vocabularies of GPT-2,
GPT-4, Mistral (SentencePiece and Tekken), SmolLM2 and Gemma 3, and a single word piece in BERT's.
Names, plurals of others and words that hurt are left out.
"""

from __future__ import annotations

from probes.corpora.generated.kit.writing import words

COMMON_WORDS = words(
    """
    ability account action activity age agent amount analysis angle area argument art
    article author bag balance ball band bar base bean bed bench bird block body border
    bottom box boy bread bug bus business button camera car card case cat category cell
    chain chair channel chart child choice circle class client clip clock code coin column
    company condition content contract core country course craft cup currency cycle date day
    deck degree delay depth design detail device direction disk distance document dog domain
    door dot driver ear edge editor effect email end engine entry error event example fact
    factor family fan father field file film filter fire fish flag floor food foot form
    format frame friend function game gate girl glass grid group hand hat head health heart
    height hero history hole horn hour ice image index ink interest issue item jar job lab
    label language law leaf leg letter level life line link list location loss machine man
    manager map margin market master material media member memory menu message method mile
    mind mission mode model month mother mouse mouth name night number operation option oven
    owner package page pair panel paper paragraph parent part path pattern payment period
    person phase phone photo phrase picture pie piece pipe pit place plane player plot point
    policy pool position pot power price process product profit program progress project
    proof property quality question range rank rat rate reason record region report request
    response result ring rock role room route row rug sample scale scene screen season
    section security seed selection series service session shape sheet ship shop shore side
    site size skill skin sky slice son source space spot spring staff stage statement
    station status stock storage store story stream stroke student style success sum surface
    system table tail target task tax team term test text theme thread tile time title tool
    topic town training type unit user value venue version video vision voice volume warning
    water wave way wealth week weight wheel width window wing woman word world writer yard
    year
    """
)
