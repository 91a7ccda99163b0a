"""What the pages say of each task, and of what the models behind it were trained on."""

ABOUT = (
    "One model that reads, writes, looks, answers, draws and listens, trained from scratch on "
    "small data (the notes below are of the preset tiny)."
)
INTRO = {  # of the preset tiny; PHASES.md has the numbers
    "Write": "A small language model that goes on where you stop; it has read four novels by Jane "
             "Austen, Moby Dick and 209 State of the Union addresses, so expect their tone and "
             "not their sense.",
    "Caption": "Says what a picture shows; it has only ever seen generated scenes of one to three "
               "emoji on a coloured ground, and knows nothing of photographs.",
    "Ask": "Answers a typed or spoken question about an emoji scene (what, how many, which color, "
           "where); spoken questions it learned from synthetic voices.",
    "Draw": "Draws 16 things, an apple or a boat among them, as blots of their colours in the "
            "corner that is asked for, on eight grounds; it learned from scenes of 32 pixels.",
    "Transcribe": "Writes down English speech letter by letter; it has heard 14 minutes of "
                  "telephone prompts by one voice, and synthetic ones, so short and clear words "
                  "fare best.",
    "Chat": "One set of weights that reads, looks and listens: give it an emoji scene and a typed "
            "or recorded question; it was taught to answer single questions in a few words.",
    "Report": "How good all this is: every step's numbers on data that was held out, each beside "
              "the simple methods that it has to beat.",
}  # fmt: skip
