import Glibc
import Netmap
import NetmapLinuxSetup

/// Holds a port open until it is killed: `port-holder PORT [clsact]`; prints `open` once the port
/// is open.
@main
struct PortHolder {
  static func main() {
    let arguments = CommandLine.arguments
    do {
      let candidate = PacketCandidate(
        ingressDropMethod: arguments.dropFirst(2).contains("clsact") ? .clsact : .automatic)
      let engine = try EmbeddedEngine(interfaces: LinuxInterfaces(candidates: [candidate]))
      let port = try NetmapPort(arguments[1], engine: engine)
      // Standard output may be a pipe, where print() would not write before its buffer is full.
      _ = unsafe write(1, "open\n", 5)
      while true { try port.wait(for: .receive); _ = port.name }
    } catch {
      print("port-holder: \(error)")
    }
  }
}
