/// `NETMAP_REQ_VALE_ATTACH`: puts an interface or a persistent port on a switch.
package struct AttachCall: Hashable, Sendable {
  /// The switch and the port, `vale0:eth0`.
  package let name: RequestName
  /// The rings to attach, and the region.
  package let binding: RequestedBinding
}

/// The answer to ``AttachCall``.
package struct AttachAnswer: Hashable, Sendable {
  /// `port_index`: the port's place on the switch.
  package var portIndex: UInt32
  /// `reg.nr_mem_id`; nil leaves the number in the request.
  package var memoryID: UInt16?

  /// Creates an answer.
  package init(portIndex: UInt32, memoryID: UInt16? = nil) {
    self.portIndex = portIndex
    self.memoryID = memoryID
  }
}

/// `NETMAP_REQ_VALE_LIST`: finds a port, or lists ports one by one.
package struct ListCall: Hashable, Sendable {
  /// The port to find. An empty name asks for the first port at the two indexes or behind them.
  package let name: RequestName
  /// `nr_bridge_idx`
  package let switchIndex: UInt16
  /// `nr_port_idx`
  package let portIndex: UInt32
}

/// The answer to ``ListCall``.
package struct ListAnswer: Hashable, Sendable {
  /// `nr_bridge_idx`
  package var switchIndex: UInt16
  /// `nr_port_idx`
  package var portIndex: UInt32
  /// The name of the port that was found by its indexes; nil leaves the name in the request.
  package var name: RequestName?

  /// Creates an answer.
  package init(switchIndex: UInt16, portIndex: UInt32, name: RequestName? = nil) {
    self.switchIndex = switchIndex
    self.portIndex = portIndex
    self.name = name
  }
}

/// `NETMAP_REQ_VALE_NEWIF`: creates a persistent port.
package struct NewInterfaceCall: Hashable, Sendable {
  /// The port's name, without a switch.
  package let name: RequestName
  /// Slot and ring counts without host rings. The server replaces them by those of the port.
  package var counts: RingCounts
  /// `nr_mem_id`: the region; 0 leaves the choice to the engine. The server replaces it by the port's region.
  package var memoryID: UInt16
}

/// `NETMAP_REQ_VALE_POLLING_ENABLE` and `NETMAP_REQ_VALE_POLLING_DISABLE`: serves an interface on a switch from threads
/// on certain CPUs, or no longer.
package struct PollingCall: Hashable, Sendable {
  /// The switch and the port, `vale0:eth0`.
  package let name: RequestName
  /// `nr_mode`: `NETMAP_POLLING_MODE_*`. The server checks it.
  package let mode: UInt32
  /// `nr_first_cpu_id`
  package let firstCPU: UInt32
  /// `nr_num_polling_cpus`
  package let cpuCount: UInt32
}

extension RequestName: Hashable {
  package func hash(into hasher: inout Hasher) {
    for byte in self { hasher.combine(byte) }
    hasher.combine(count)
  }
}

extension PollingCall {
  init(_ name: RequestName, _ body: RequestBody) {
    typealias Layout = RequestLayout.Polling
    self.init(
      name: name, mode: body.load(Layout.mode), firstCPU: body.load(Layout.firstCPU),
      cpuCount: body.load(Layout.cpuCount))
  }
}

extension RequestBody {
  mutating func store(_ answer: AttachAnswer) {
    store(answer.portIndex, at: RequestLayout.Attach.portIndex)
    if let id = answer.memoryID { store(id, at: RequestLayout.Register.memoryID) }
  }

  mutating func store(_ answer: ListAnswer) {
    store(answer.switchIndex, at: RequestLayout.List.switchIndex)
    store(answer.portIndex, at: RequestLayout.List.portIndex)
  }

  mutating func store(_ call: NewInterfaceCall) {
    store(call.counts, RequestLayout.NewInterface.counts)
    store(call.memoryID, at: RequestLayout.NewInterface.memoryID)
  }
}
