"""Print the score, and all that it is made of: `python -m tests.gradients.collection`."""

from tests.gradients.collection.score import score

if __name__ == "__main__":
    found = score(verbose=True)
    for title, cases in zip(found._fields[2:], found[2:]):
        for name, words in cases:
            print(f"\n{title}: {name}\n{words}")
    print(f"\n{found}")
