import Netmap
import TableSupport

/// One operation of the table: what the victim does, and what must hold after its end.
protocol KillRow: Sendable {
  /// The name on the command line and in the table.
  var name: String { get }

  /// Whether the tracer counts instructions or the entries and exits of system calls.
  var unit: StepUnit { get }

  /// The modes in which the row is run.
  var modes: [KillMode] { get }

  /// The distance between two points of a long operation, except where shared memory changes: there every instruction is
  /// a point.
  var spacing: Int { get }

  /// Further options of netmapd.
  var daemonOptions: [String] { get }

  /// Prepares the tracer's process before the daemon starts.
  func prepareProcess() throws

  /// Opens and prepares ports. Runs in the victim.
  ///
  /// - Returns: The operation.
  /// - Throws: An error when the victim cannot be prepared.
  func victim(_ engine: HostEngine) throws -> VictimOperation

  /// Opens the ports of the processes that live on. Runs in the tracer.
  func scene(_ testbed: TableTestbed) throws -> any KillScene
}

extension KillRow {
  var unit: StepUnit { .instructions }
  var modes: [KillMode] { KillMode.allCases }
  var daemonOptions: [String] { [] }
  var spacing: Int { 1 }
  func prepareProcess() throws {}
}

typealias VictimOperation = () throws -> Void

enum StepUnit: String {
  case instructions
  case calls = "system calls"
}

/// What happens to the victim at a point of its operation.
enum KillMode: String, CaseIterable {
  /// The tracer kills it.
  case kill
  /// It stands still while other processes go on, and then the tracer kills it.
  case stopAndKill = "stop-kill"
  /// It stands still while other processes go on, and then completes the operation.
  case stop
}

/// The processes that live on, all played by the tracer, and what they must find.
protocol KillScene: AnyObject {
  /// Brings the ports to the state in which the victim starts.
  func prepare() throws

  /// Brings the ports to the state in which the victim's operation begins, after the victim has prepared it.
  func arm() throws

  /// What other processes do while the victim stands still.
  func meanwhile() throws

  /// Checks that nothing is lost, changed or held up.
  ///
  /// - Parameter mode: What happened to the victim.
  /// - Throws: ``TableError`` when something does not hold.
  func verify(_ mode: KillMode) throws

  func end()
}

extension KillScene {
  func prepare() throws {}
  func arm() throws {}
  func meanwhile() throws {}
}

/// A row for which another process sleeps, or does something else on its own.
protocol KillRowWithHelper: KillRow {
  /// Runs in the helper, until the tracer kills it.
  func helper(_ engine: HostEngine, _ board: TableBoard) throws
}
