import NetmapTestSupport
import Testing

/// A rule of netmap, and the test of a C program that checks it.
struct Rule: Sendable, CustomTestStringConvertible {
  let test: String
  let text: String
  /// The rows of docs/compatibility.md that the test proves.
  let claims: [Claim]

  init(_ test: String, _ text: String, _ claims: Claim...) { self.init(test, text, claims) }

  init(_ test: String, _ text: String, _ claims: [Claim]) {
    self.test = test
    self.text = text
    self.claims = claims
  }

  var testDescription: String { text }
}
