import Netmap

/// Two tasks exchange packets through a pipe. No thread sleeps while a task waits, and tasks can be canceled.
@main
struct Tasks {
  static func main() async throws {
    let sender = try NetmapPort("netmap:tasks{1")
    let receiver = try NetmapPort("netmap:tasks}1")
    // A port moves to the task that uses it; the compiler refuses any later use here.
    let receiving = Task.detached { try await receive(on: receiver) }
    try await send(10, on: sender)
    receiving.cancel()
    print("received \(try await receiving.value) packets")
  }

  static func send(_ count: Int, on port: NetmapPort) async throws {
    for number in 0..<count {
      try port.inject([UInt8](repeating: UInt8(number), count: 60))
      try port.sync(.transmit)
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Counts packets until the task is canceled.
  static func receive(on port: NetmapPort) async throws -> Int {
    var count = 0
    for try await _ in port.readiness {
      var ring = port.receiveRing(0)
      count += ring.forEach { packet in print("a packet of \(packet.length) bytes") }
    }
    return count
  }
}
