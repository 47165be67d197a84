"""Famous people: what WordNet files them under, and the nation its gloss begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packs import wordnet
from packs.relation import WORDNET, Relation, Row

PERSONS = 18  # lexnames(5WN)

# WordNet's word → the common one and others.
OCCUPATIONS = {
    "writer": ("writer", "author", "novelist"),
    "novelist": ("novelist", "writer", "author"),
    "dramatist": ("playwright", "dramatist", "writer"),
    "poet": ("poet", "writer"),
    "statesman": ("politician", "statesman", "leader"),
    "stateswoman": ("politician", "stateswoman", "prime minister"),
    "old master": ("painter", "artist"),
    "painter": ("painter", "artist"),
    "sculptor": ("sculptor", "artist"),
    "film maker": ("film director", "filmmaker", "director", "film maker"),
    "film director": ("film director", "filmmaker", "director"),
    "nuclear physicist": ("physicist", "nuclear physicist", "scientist"),
    "physicist": ("physicist", "scientist"),
    "chemist": ("chemist", "scientist"),
    "biologist": ("biologist", "scientist"),
    "naturalist": ("naturalist", "biologist", "scientist"),
    "astronomer": ("astronomer", "scientist"),
    "mathematician": ("mathematician",),
    "ballplayer": ("baseball player",),
    "President of the United States": ("president", "politician", "President of the United States", "US president"),
    "rock star": ("singer", "musician", "rock star"),
    "jazz musician": ("jazz musician", "musician"),
    "composer": ("composer", "musician"),
    "analyst": ("psychoanalyst", "psychologist", "psychiatrist"),
    "electrical engineer": ("electrical engineer", "engineer"),
    "computer scientist": ("computer scientist",),
    "prizefighter": ("boxer", "prizefighter"),
    "golfer": ("golfer",),
    "actor": ("actor",),
    "actress": ("actress", "actor"),
    "comedian": ("comedian",),
    "religious leader": ("religious leader", "theologian"),
    "general": ("general", "military leader", "soldier"),
    "civil rights leader": ("civil rights leader", "activist", "civil rights activist"),
    "nationalist leader": ("politician", "activist", "leader"),
    "aviator": ("aviator", "pilot"),
    "aviatrix": ("aviator", "pilot"),
    "doctor": ("doctor", "physician"),
    "Bolshevik": ("revolutionary", "politician", "leader"),
    "revolutionist": ("revolutionary",),
    "communist": ("communist", "politician", "dictator", "leader"),
    "dictator": ("dictator", "politician", "leader"),
    "Nazi": ("politician", "Nazi"),
    "swimmer": ("swimmer",),
    "sitar player": ("musician", "sitar player"),
    "mountaineer": ("mountaineer", "mountain climber", "explorer"),
    "chess master": ("chess player", "chess master"),
    "escapologist": ("magician", "escape artist"),
    "jurist": ("judge", "jurist"),
    "musician": ("musician",),
    "songwriter": ("songwriter", "musician"),
    "folk singer": ("singer", "folk singer", "musician"),
    "guitarist": ("guitarist", "musician"),
    "cartoonist": ("cartoonist", "artist"),
    "hockey player": ("hockey player",),
    "tennis player": ("tennis player",),
    "basketball player": ("basketball player",),
    "forward": ("basketball player",),
    "center": ("basketball player",),
    "guard": ("basketball player",),
    "traveler": ("explorer", "traveler", "merchant"),
    "navigator": ("explorer", "navigator"),
    "conquistador": ("conquistador", "explorer"),
    "economist": ("economist",),
    "philosopher": ("philosopher",),
    "inventor": ("inventor",),
    "explorer": ("explorer",),
    "architect": ("architect",),
    "psychologist": ("psychologist",),
    "historian": ("historian",),
    "astronaut": ("astronaut",),
    "cosmonaut": ("cosmonaut", "astronaut"),
    "nurse": ("nurse",),
    "singer": ("singer", "musician"),
    "violinist": ("violinist", "musician"),
    "pianist": ("pianist", "musician"),
    "dancer": ("dancer",),
    "conductor": ("conductor", "musician"),
    "crooner": ("singer", "crooner"),
    "tenor": ("tenor", "singer", "opera singer"),
    "botanist": ("botanist", "scientist"),
    "geologist": ("geologist", "scientist"),
    "linguist": ("linguist",),
    "anthropologist": ("anthropologist",),
    "zoologist": ("zoologist", "scientist"),
    "journalist": ("journalist", "writer"),
    "industrialist": ("industrialist", "businessman"),
    "engineer": ("engineer",),
    "logician": ("logician", "mathematician"),
    "monk": ("monk",),
    "surgeon": ("surgeon", "doctor"),
    "neurologist": ("neurologist", "doctor"),
    "sociologist": ("sociologist",),
    "theologian": ("theologian",),
    "photographer": ("photographer",),
    "choreographer": ("choreographer", "dancer"),
    "bacteriologist": ("bacteriologist", "scientist"),
    "astrophysicist": ("astrophysicist", "astronomer"),
    "spy": ("spy",),
    "suffragist": ("suffragist", "activist"),
    "abolitionist": ("abolitionist", "activist"),
    "pope": ("pope",),
    "emperor": ("emperor",),
    "Roman Emperor": ("Roman emperor", "emperor"),
    "queen": ("queen",),
    "gangster": ("gangster", "criminal"),
    "environmentalist": ("environmentalist",),
    "virologist": ("virologist", "scientist", "doctor", "physician"),
    "biochemist": ("biochemist", "biologist", "scientist"),
    "physiologist": ("physiologist", "scientist"),
    "printer": ("printer", "inventor"),
    "geometer": ("mathematician",),
    "existentialist": ("philosopher", "existentialist"),
    "socialist": ("socialist", "politician", "revolutionary"),
    "satirist": ("satirist", "writer"),
    "muralist": ("painter", "muralist", "artist"),
    "saxophonist": ("saxophonist", "musician", "jazz musician"),
    "puppeteer": ("puppeteer",),
    "conqueror": ("conqueror", "king", "military leader"),
    "king": ("king",),
    "military leader": ("military leader", "soldier", "warrior"),
    "field marshal": ("field marshal", "general", "soldier"),
    "admiral": ("admiral",),
    "nun": ("nun", "missionary"),
    "missionary": ("missionary",),
    "athlete": ("athlete",),
    "criminal": ("criminal", "outlaw"),
    "lawyer": ("lawyer",),
    "drummer": ("drummer", "musician"),
    "trumpeter": ("trumpeter", "musician"),
    "clergyman": ("minister", "clergyman", "pastor"),
    "spiritual leader": ("spiritual leader",),
    "humorist": ("humorist", "writer"),
    "philologist": ("philologist", "linguist"),
    "geneticist": ("geneticist", "biologist", "scientist"),
    "entrepreneur": ("entrepreneur", "businessman"),
    "financier": ("financier", "banker"),
}

# fmt: off
NATIONS = {  # how glosses begin → the adjective and others
    "United States": ("American",), "British": ("British", "English"), "English": ("English", "British"),
    "Scottish": ("Scottish", "British"), "Irish": ("Irish",), "Welsh": ("Welsh", "British"), "German": ("German",),
    "Austrian": ("Austrian",), "French": ("French",), "Italian": ("Italian",), "Spanish": ("Spanish",),
    "Dutch": ("Dutch",), "Flemish": ("Flemish", "Belgian"), "Danish": ("Danish",), "Swedish": ("Swedish",),
    "Norwegian": ("Norwegian",), "Finnish": ("Finnish",), "Russian": ("Russian",), "Polish": ("Polish",),
    "Hungarian": ("Hungarian",), "Czech": ("Czech",), "Greek": ("Greek",), "Swiss": ("Swiss",),
    "Indian": ("Indian",), "Chinese": ("Chinese",), "Japanese": ("Japanese",), "Mexican": ("Mexican",),
    "Canadian": ("Canadian",), "Australian": ("Australian",), "New Zealand": ("New Zealander",),
    "Portuguese": ("Portuguese",), "Roman": ("Roman",), "Egyptian": ("Egyptian",), "Argentine": ("Argentine",),
    "Chilean": ("Chilean",), "Colombian": ("Colombian",), "Cuban": ("Cuban",), "South African": ("South African",),
    "Israeli": ("Israeli",), "Romanian": ("Romanian",), "Soviet": ("Russian", "Soviet"),
    "Venetian": ("Italian", "Venetian"),
    "Florentine": ("Italian",), "American": ("American",), "Belgian": ("Belgian",), "Vietnamese": ("Vietnamese",),
    "Englishman": ("English", "British"), "Athenian": ("Greek", "Athenian"), "Jamaican": ("Jamaican",),
    "Venezuelan": ("Venezuelan",), "Iraqi": ("Iraqi",), "Palestinian": ("Palestinian",), "Mongolian": ("Mongolian",),
    "Argentinian": ("Argentine", "Argentinian"),
}
# fmt: on
PRESIDENT = re.compile(r"\d+(?:st|nd|rd|th) President of the (United States)")

NAMES = """
Albert Einstein, Isaac Newton, Galileo Galilei, Marie Curie, Pierre Curie, Niels Bohr, Max Planck, Stephen Hawking,
Enrico Fermi, Richard Feynman, Werner Karl Heisenberg, Erwin Schrodinger, Robert Oppenheimer, Michael Faraday,
Ernest Rutherford, James Clerk Maxwell, Max Born, Wolfgang Pauli, Paul Adrien Maurice Dirac, Edward Teller,
Heinrich Hertz, Georg Simon Ohm, Hans Geiger, Johannes Kepler, Nicolaus Copernicus, Tycho Brahe, Edmond Halley,
Edwin Hubble, William Herschel, Fred Hoyle, Charles Darwin, Gregor Mendel, Louis Pasteur, Alexander Fleming,
Jonas Salk, Rachel Carson, Jane Goodall, Konrad Lorenz, Thomas Huxley, James Watson, Francis Crick, Linus Pauling,
Antoine Lavoisier, Joseph Priestley, Robert Boyle, John Dalton, Dmitri Mendeleev, Fritz Haber, Alfred Nobel,
Carolus Linnaeus, Thomas Edison, Nikola Tesla, Alexander Graham Bell, Guglielmo Marconi, James Watt, Samuel Morse,
Orville Wright, Wilbur Wright, Eli Whitney, Robert Fulton, George Eastman, Henry Ford, Johann Gutenberg,
Charles Goodyear, Euclid, Archimedes, Pythagoras, Leonhard Euler, Karl Friedrich Gauss, Bernhard Riemann,
David Hilbert, Kurt Godel, Alan Turing, Pierre de Fermat, Blaise Pascal, John von Neumann, George Boole,
Bertrand Russell, John Venn, Socrates, Plato, Aristotle, Confucius, Rene Descartes, Immanuel Kant, David Hume,
John Locke, Thomas Hobbes, Friedrich Wilhelm Nietzsche, Karl Marx, Georg Wilhelm Friedrich Hegel,
Ludwig Wittgenstein, Soren Kierkegaard, Jean-Paul Sartre, Martin Heidegger, Voltaire, Jean-Jacques Rousseau,
Arthur Schopenhauer, John Stuart Mill, Jeremy Bentham, Jacques Derrida, Sir Karl Raimund Popper, Epicurus,
Adam Smith, John Maynard Keynes, Milton Friedman, Thomas Malthus, Friedrich Engels, Sigmund Freud, Carl Jung,
Ivan Pavlov, B. F. Skinner, Jean Piaget, William James, Noam Chomsky, Margaret Mead, Claude Levi-Strauss,
Emile Durkheim, William Shakespeare, Charles Dickens, Jane Austen, Mark Twain, Ernest Hemingway,
F. Scott Fitzgerald, William Faulkner, John Steinbeck, Leo Tolstoy, Fyodor Dostoevsky, Anton Chekhov,
Nikolai Vasilievich Gogol, Alexander Pushkin, Boris Pasternak, Vladimir Nabokov, Victor Hugo, Alexandre Dumas,
Gustave Flaubert, Honore de Balzac, Emile Zola, Marcel Proust, Jules Verne, Albert Camus, Franz Kafka, Thomas Mann,
Hermann Hesse, Gunter Grass, Johann Wolfgang von Goethe, Miguel de Cervantes, Jorge Luis Borges, Pablo Neruda,
James Joyce, Oscar Wilde, George Bernard Shaw, Samuel Beckett, Jonathan Swift, Bram Stoker, William Butler Yeats,
T. S. Eliot, Ezra Pound, Robert Frost, Walt Whitman, Emily Dickinson, Edgar Allan Poe, Herman Melville,
Nathaniel Hawthorne, Henry David Thoreau, Ralph Waldo Emerson, Henry Wadsworth Longfellow, Langston Hughes,
Sylvia Plath, Allen Ginsberg, Jack Kerouac, Kurt Vonnegut, Ray Bradbury, Isaac Asimov, H. G. Wells, George Orwell,
Aldous Huxley, J.R.R. Tolkien, C. S. Lewis, Lewis Carroll, Agatha Christie, Arthur Conan Doyle, Ian Fleming,
Rudyard Kipling, Robert Louis Stevenson, Daniel Defoe, Virginia Woolf, Mary Shelley, Charlotte Bronte, Emily Bronte,
George Eliot, Thomas Hardy, D. H. Lawrence, Joseph Conrad, John Milton, Geoffrey Chaucer, William Blake,
William Wordsworth, John Keats, Percy Bysshe Shelley, Samuel Taylor Coleridge, Alfred Tennyson, Robert Burns,
Dante Alighieri, Homer, Virgil, Ovid, Horace, Sophocles, Euripides, Aristophanes, Aeschylus,
Hans Christian Andersen, Henrik Ibsen, August Strindberg, Harriet Beecher Stowe, Toni Morrison, Alice Walker,
J. D. Salinger, Joseph Heller, Jack London, Upton Sinclair, Sinclair Lewis, Saul Bellow, Philip Roth, Arthur Miller,
Tennessee Williams, Eugene O'Neill, Salman Rushdie, Rabindranath Tagore, Ayn Rand, Gertrude Stein, Dylan Thomas,
Leonardo da Vinci, Michelangelo, Raphael, Rembrandt, Vincent van Gogh, Claude Monet, Pablo Picasso, Salvador Dali,
Andy Warhol, Henri Matisse, Paul Cezanne, Paul Gauguin, Edgar Degas, Edouard Manet, Georges Seurat, Francisco Goya,
Diego Rodriguez de Silva y Velazquez, El Greco, Titian, Caravaggio, Sandro Botticelli, Jan Vermeer,
Peter Paul Rubens, Albrecht Durer, Hieronymus Bosch, Edvard Munch, Gustav Klimt, Jackson Pollock, Georgia Okeeffe,
Diego Rivera, Joan Miro, Marc Chagall, Wassily Kandinsky, Paul Klee, Auguste Rodin, Pierre Auguste Renoir,
Roy Lichtenstein, Grant Wood, Winslow Homer, John Constable, Thomas Gainsborough, Donatello, Frank Lloyd Wright,
Le Corbusier, Sir Christopher Wren, Walter Gropius, I. M. Pei, Wolfgang Amadeus Mozart, Ludwig van Beethoven,
Johann Sebastian Bach, Frederic Francois Chopin, Franz Schubert, Franz Liszt, Franz Joseph Haydn, Richard Wagner,
Richard Strauss, Johannes Brahms, Robert Schumann, Felix Mendelssohn, George Frideric Handel, Antonio Vivaldi,
Giuseppe Verdi, Giacomo Puccini, Giloacchino Antonio Rossini, Peter Tchaikovsky, Igor Stravinsky,
Sergei Rachmaninoff, Sergei Sergeyevich Prokofiev, Dmitri Shostakovich, Claude Debussy, Maurice Ravel,
Hector Berlioz, Georges Bizet, Antonin Dvorak, Gustav Mahler, Edvard Grieg, Jean Sibelius, Bela Bartok,
George Gershwin, Aaron Copland, Leonard Bernstein, Scott Joplin, Duke Ellington, Louis Armstrong, Miles Davis,
Charlie Parker, Ella Fitzgerald, Elvis Presley, Bob Dylan, John Lennon, Paul McCartney, George Harrison,
Ringo Starr, Jimi Hendrix, Janis Joplin, Mick Jagger, Frank Sinatra, Johnny Cash, Woody Guthrie, Bob Marley,
Luciano Pavarotti, Enrico Caruso, Michael Jackson, Ravi Shankar, Charlie Chaplin, Marilyn Monroe, Humphrey Bogart,
Clark Gable, John Wayne, James Dean, Cary Grant, Katharine Hepburn, Ingrid Bergman, Greta Garbo, Elizabeth Taylor,
Grace Kelly, Bette Davis, Meryl Streep, Tom Hanks, Anthony Hopkins, Alfred Hitchcock, Steven Spielberg,
Stanley Kubrick, Martin Scorsese, Francis Ford Coppola, Orson Welles, Woody Allen, Walt Disney, Federico Fellini,
Akira Kurosawa, Ingmar Bergman, Quentin Tarantino, Spike Lee, George Lucas, Fred Astaire, Gene Kelly, Ginger Rogers,
Bruce Lee, Harry Houdini, Buster Keaton, Bob Hope, Laurence Olivier, Jim Henson, George Washington,
Thomas Jefferson, Abraham Lincoln, Theodore Roosevelt, Woodrow Wilson, Franklin Roosevelt, Harry Truman,
Ulysses S. Grant, Dwight Eisenhower, President John F. Kennedy, Lyndon Johnson, Richard Nixon, Gerald Ford,
Jimmy Carter, Ronald Reagan, Bill Clinton, John Adams, James Madison, James Monroe, Andrew Jackson, Herbert Hoover,
Calvin Coolidge, Barack Hussein Obama, Benjamin Franklin, Alexander Hamilton, Winston Churchill, Margaret Thatcher,
Tony Blair, Neville Chamberlain, Benjamin Disraeli, Otto von Bismarck, Konrad Adenauer, Charles de Gaulle,
Vladimir Lenin, Joseph Stalin, Leon Trotsky, Nikita Khrushchev, Mikhail Gorbachev, Vladimir Putin, Mao Zedong,
Deng Xiaoping, Ho Chi Minh, Fidel Castro, Che Guevara, Simon Bolivar, Nelson Mandela, Mahatma Gandhi, Indira Gandhi,
Jawaharlal Nehru, Golda Meir, Yasser Arafat, Gamal Abdel Nasser, Anwar Sadat, Adolf Hitler, Benito Mussolini,
Francisco Franco, Saddam Hussein, Julius Caesar, Augustus, Nero, Marcus Aurelius, Cicero, Hannibal, Cleopatra,
Alexander the Great, Genghis Khan, Charlemagne, Napoleon Bonaparte, Joan of Arc, Robert E. Lee, Douglas MacArthur,
Erwin Rommel, Horatio Nelson, Martin Luther King, Rosa Parks, Malcolm X, Jesse Jackson, Frederick Douglass,
Harriet Tubman, Susan B. Anthony, Helen Keller, Martin Luther, John Calvin, Mother Teresa, Florence Nightingale,
Christopher Columbus, Marco Polo, Ferdinand Magellan, Vasco da Gamma, Hernando Cortes, Francis Drake, James Cook,
David Livingstone, Roald Amundsen, Amerigo Vespucci, Edmund Hillary, Meriwether Lewis, Amelia Earhart,
Charles Lindbergh, Neil Armstrong, John Glenn, Yuri Gagarin, Babe Ruth, Lou Gehrig, Jackie Robinson, Jesse Owens,
Muhammad Ali, Joe Louis, Wayne Gretzky, Jack Nicklaus, Arnold Palmer, Martina Navratilova, Bobby Fischer,
Bill Gates, Andrew Carnegie, John D. Rockefeller, Al Capone, Jesse James, Herodotus, Thucydides, Edward Gibbon
"""
DISPLAYED = {
    "Werner Karl Heisenberg": "Werner Heisenberg",
    "Georg Wilhelm Friedrich Hegel": "Georg Hegel",
    "Vasco da Gamma": "Vasco da Gama",
    "Hernando Cortes": "Hernán Cortés",
    "Johann Gutenberg": "Johannes Gutenberg",
    "Sir Karl Raimund Popper": "Karl Popper",
    "Paul Adrien Maurice Dirac": "Paul Dirac",
    "Carolus Linnaeus": "Carl Linnaeus",
    "Karl Friedrich Gauss": "Carl Gauss",
    "Friedrich Wilhelm Nietzsche": "Friedrich Nietzsche",
    "Nikolai Vasilievich Gogol": "Nikolai Gogol",
    "Diego Rodriguez de Silva y Velazquez": "Diego Velazquez",
    "Pierre Auguste Renoir": "Auguste Renoir",
    "Sir Christopher Wren": "Christopher Wren",
    "Frederic Francois Chopin": "Frederic Chopin",
    "Sergei Sergeyevich Prokofiev": "Sergei Prokofiev",
    "President John F. Kennedy": "John F. Kennedy",
    "Barack Hussein Obama": "Barack Obama",
    "Georgia Okeeffe": "Georgia O'Keeffe",
    "Giloacchino Antonio Rossini": "Gioacchino Rossini",
}
UNSETTLED = {"Joseph Stalin", "Adolf Hitler", "Mother Teresa", "Bruce Lee"}  # nations that others would say otherwise


def occupations(person: wordnet.Synset) -> list[wordnet.Synset]:
    return list(person.related(wordnet.INSTANCE_OF))


def people() -> Iterator[tuple[str, wordnet.Synset]]:
    for name in (entry.strip() for entry in NAMES.replace("\n", " ").split(",")):
        found = [
            sense for sense in wordnet.senses(name, wordnet.NOUN) if sense.lexname == PERSONS and occupations(sense)
        ]
        found.sort(
            key=lambda sense: all(above.words[0] not in OCCUPATIONS for above in sense.related(wordnet.INSTANCE_OF))
        )
        if found:
            yield DISPLAYED.get(name, name), found[0]


def occupation_rows() -> Iterator[Row]:
    for name, person in people():
        for above in occupations(person):
            common = OCCUPATIONS.get(above.words[0])
            if common:
                yield name, common[0], common[1:]


def nationality_rows() -> Iterator[Row]:
    named = re.compile(f"(?:[a-z-]+ )*?({'|'.join(NATIONS)})\\b")
    for name, person in people():
        begins = named.match(person.gloss) or PRESIDENT.match(person.gloss)
        if (
            begins and name not in UNSETTLED and not re.search(r"born in (the )?[A-Z]", person.gloss)
        ):  # of another country, or of both
            nation, *others = NATIONS[begins[1]]
            yield name, nation, tuple(others)


def relations() -> Iterator[Relation]:
    yield Relation(
        "occupation",
        "what a famous person is known for doing",
        (WORDNET,),
        (
            "By profession, {entity} was a",
            "{entity} is remembered as a famous",
            "Name: {entity}. Occupation:",
            "Q: What did {entity} do for a living? A:",
            "In the encyclopedia, {entity} is described as a great",
            "{entity} worked as a",
        ),
        ("Charles Dickens", "Claude Monet", "Niels Bohr"),
        list(occupation_rows()),
    )
    yield Relation(
        "nationality",
        "the nation of a famous person",
        (WORDNET,),
        (
            "By nationality, {entity} was",
            "The nationality of {entity} was",
            "Name: {entity}. Nationality:",
            "Q: What nationality was {entity}? A:",
            "{entity} came from a family that was",
        ),
        ("Charles Dickens", "Claude Monet", "Mark Twain"),
        list(nationality_rows()),
    )
