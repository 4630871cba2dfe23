import Testing

/// A rule of netmap, and the test of a C program that checks it.
struct Rule: Sendable, CustomTestStringConvertible {
  let test: String
  let text: String

  init(_ test: String, _ text: String) {
    self.test = test
    self.text = text
  }

  var testDescription: String { text }
}
