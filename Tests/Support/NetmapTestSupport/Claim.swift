internal import Glibc
public import Testing

/// What a test proves about names that C programs use: rows of docs/compatibility.md.
///
/// A test claims something by a rule (`Rule` of the conformance tests) or by the trait `.proves(...)`. `make
/// compatibility` runs the tests, collects the claims of those that succeed, and writes the rows.
public struct Claim: Sendable {
  /// The tables of the document, in its order.
  public enum Table: String, Sendable, CaseIterable {
    /// Commands of `ioctl`: `NIOC...`
    case commands
    /// Types of `NIOCCTRL`: `NETMAP_REQ_...`
    case requests
    /// `NETMAP_REQ_OPT_...`
    case options
    /// `nr_cmd` of `NIOCREGIF`
    case legacy
    /// `NR_REG_...`
    case modes
    /// `nr_flags` of a register request
    case flags
    /// Flags of slots and rings
    case slots
    /// Forms of port names
    case names
    /// Functions of libc, by the names of their symbols
    case calls
    /// Functions of libnetmap
    case library
    /// What a descriptor has in common with a file
    case descriptors
    /// Waits for packets
    case waits
    /// Tunables: parameters of the kernel module
    case tunables
    /// Bad input, lost daemons, exhausted resources
    case failures
  }

  enum State {
    case works
    /// The `errno`, and why.
    case refused(String, because: String)
    /// How it differs from netmap's kernel module.
    case differs(String)
  }

  let table: Table
  let subjects: [String]
  let state: State

  /// As with the kernel module.
  public static func works(_ table: Table, _ subjects: String...) -> Claim {
    Claim(table: table, subjects: subjects, state: .works)
  }

  /// Not there, and programs can tell by this `errno`.
  public static func refused(
    _ table: Table, _ subjects: String..., errno: String, because: String
  ) -> Claim {
    Claim(table: table, subjects: subjects, state: .refused(errno, because: because))
  }

  /// Not as with the kernel module.
  public static func differs(_ table: Table, _ subjects: String..., how: String) -> Claim {
    Claim(table: table, subjects: subjects, state: .differs(how))
  }

  /// Appends the claims of a test that has succeeded to the file that `NETMAP_CLAIMS` names, a row in each line: the
  /// table, the subject, the state, its explanation, and the test's title, between tabs.
  public static func record(_ claims: [Claim], by title: String) {
    guard !claims.isEmpty, let path = unsafe getenv("NETMAP_CLAIMS") else { return }
    var text = ""
    for claim in claims {
      let (state, explanation) =
        switch claim.state {
        case .works: ("works", "")
        case .refused(let errno, let reason): ("refused: \(errno)", reason)
        case .differs(let how): ("differs", how)
        }
      for subject in claim.subjects {
        text += "\(claim.table.rawValue)\t\(subject)\t\(state)\t\(explanation)\t\(title)\n"
      }
    }
    let file = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    let bytes = [UInt8](text.utf8)
    guard file >= 0, unsafe write(file, bytes, bytes.count) == bytes.count else {
      Issue.record("the claims of '\(title)' could not be written: errno \(errno)")
      return
    }
    close(file)
  }
}

/// Records claims when the test function has ended. A run with a failure is not used.
public struct Proof: TestTrait, TestScoping {
  let claims: [Claim]

  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await function()
    if testCase != nil { Claim.record(claims, by: test.displayName ?? test.name) }
  }
}

extension Trait where Self == Proof {
  /// What the test proves about netmap's names: see ``Claim``.
  public static func proves(_ claims: Claim...) -> Self { Proof(claims: claims) }
}
