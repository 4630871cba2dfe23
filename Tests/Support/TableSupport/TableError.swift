/// Why a point or a round was not survived, or why a row could not be run.
package struct TableError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) {
    self.description = description
  }
}

package func expect(_ condition: Bool, _ text: @autoclosure () -> String) throws {
  guard condition else { throw TableError(text()) }
}
