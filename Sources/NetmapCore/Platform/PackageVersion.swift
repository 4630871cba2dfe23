/// The version of the package.
package enum PackageVersion {
  package static let text = "0.1.0"

  /// The answer of a program to `--version`: its name and the version.
  package static func line(of program: String) -> String { "\(program) \(text)" }
}
