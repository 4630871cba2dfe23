public import NetmapCore

/// Manages the VALE switches of an engine: netmap's `NETMAP_REQ_VALE_*` requests.
///
/// A switch appears with its first port and disappears with its last one. The ports that programs open
/// (`vale0:a`) exist while a program has them open. Persistent ports are created and attached to switches
/// through this interface, and stay until they are removed.
///
/// Safe to use from any thread. With a ``HostEngine`` every call waits for the daemon's answer.
public struct Switches: Sendable {
  let provider: any BindingProvider

  init(_ provider: any BindingProvider) {
    self.provider = provider
  }

  /// A port and its place on a switch.
  public struct Entry: Hashable, Sendable {
    /// The port's name, such as `vale0:a`.
    public let name: String
    /// The switch's number.
    public let switchIndex: Int
    /// The port's index on the switch, 0 to 253, or 255 when the switch has no such port.
    public let portIndex: Int
    /// Notes on an interface, one line each, such as that packets arrive on it with unfinished checksums. Only
    /// ``Switches/attach(_:memoryID:withHostRings:backpressure:)`` returns them.
    public let remarks: [String]
  }

  /// The rings and memory of a port.
  public struct Information: Hashable, Sendable {
    public let geometry: PortGeometry
    /// The number of its memory region (`nr_mem_id`).
    public let memoryID: UInt16
    /// Bytes in that region.
    public let memorySize: Int
  }

  /// Attaches a persistent port or a network interface to a switch.
  ///
  /// An attached interface has all of its rings on the switch and belongs to the switch until it is detached:
  /// the packets that it receives go to the switch, and no program can open it. A thread of the engine carries
  /// its packets and keeps an embedded engine alive. The interface is looked up in the calling thread's network
  /// namespace.
  ///
  /// - Parameters:
  ///   - name: `valeSWITCH:PORT`.
  ///   - memoryID: The number of an existing memory region, for an interface while it is attached; 0 for a
  ///     region of its own. A persistent port keeps its region.
  ///   - withHostRings: Whether the interface's host stack joins the switch as well, as port `valeSWITCH:PORT^`.
  ///   - backpressure: Whether senders keep packets while the port has no room for them; otherwise the switch
  ///     drops such packets.
  ///   - backend: The backend that must drive an interface; nil for the best one that works.
  /// - Returns: The port's place on the switch.
  /// - Throws: ``NetmapError`` `EBUSY` when the port is attached already or open; `EINVAL` when there is no
  ///   such port or interface, or for the host rings of a persistent port; `ENOMEM` when the switch is
  ///   full; and any error of opening an interface.
  @discardableResult
  public func attach(
    _ name: PortName, memoryID: UInt16 = 0, withHostRings: Bool = false, backpressure: Bool = false,
    backend: PortSpecification.BackendChoice? = nil
  ) throws(NetmapError) -> Entry {
    entry(
      try provider.answer(
        .attach(
          RegisterRequest(
            name: name, selection: withHostRings ? .hardwareAndHost : .allHardware,
            extensions: backpressure ? .backpressure : [], memoryID: memoryID, backend: backend))))
  }

  /// Detaches a persistent port or a network interface from a switch.
  ///
  /// An interface is back in its former state when this method returns. Packets that were already sent to the
  /// interface go out first, which takes some milliseconds; packets that it does not accept within 0.2 s are
  /// lost.
  ///
  /// - Returns: The port's former place on the switch.
  /// - Throws: ``NetmapError`` `ENXIO` when it is not attached there, `EBUSY` when it is open, polled, or was
  ///   attached to another switch later, `EINVAL` when the name is not `valeSWITCH:PORT`.
  @discardableResult
  public func detach(_ name: PortName) throws(NetmapError) -> Entry {
    entry(try provider.answer(.detach(name)))
  }

  /// Creates a persistent port.
  ///
  /// - Parameters:
  ///   - name: The port's name.
  ///   - hints: The wanted numbers of rings and slots.
  ///   - memoryID: The number of an existing memory region; 0 for a region of its own.
  /// - Returns: Its rings and memory.
  /// - Throws: ``NetmapError`` `EEXIST` when the name is taken, `EINVAL` when the name cannot be a port's.
  @discardableResult
  public func create(
    _ name: PortName, _ hints: RingGeometryHints = .none, memoryID: UInt16 = 0
  ) throws(NetmapError) -> Information {
    information(
      try provider.answer(
        .create(RegisterRequest(name: name, memoryID: memoryID, hints: hints))))
  }

  /// Removes a persistent port from the engine.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is none, `EBUSY` when it is open or attached.
  public func remove(_ name: PortName) throws(NetmapError) {
    _ = try provider.answer(.remove(name))
  }

  /// The place of a port.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when the name is not a switch's.
  public func find(_ name: PortName) throws(NetmapError) -> Entry {
    entry(try provider.answer(.find(name)))
  }

  /// The rings and memory of a port.
  ///
  /// If the port does not exist, the engine creates it for the answer and removes it afterwards.
  ///
  /// - Throws: ``NetmapError`` as opening the port would.
  public func information(on name: PortName) throws(NetmapError) -> Information {
    information(try provider.answer(.information(name)))
  }

  /// Puts a virtio-net header before every frame of a port (`PORT_HDR_SET`), also for programs that already
  /// have the port open.
  ///
  /// From then on programs open the port with ``BindingFlags/acceptVirtioNetHeader``. The switch converts
  /// between headers of different lengths. For a port without headers it completes checksums and cuts packets
  /// into segments where necessary.
  ///
  /// - Parameters:
  ///   - length: Bytes of the header: 0 for no header, 10, or 12.
  ///   - name: A port that is open on a switch.
  /// - Throws: ``NetmapError`` `EINVAL` for other lengths, `ENXIO` when there is no such port.
  public func setVirtioNetHeader(_ length: Int, of name: PortName) throws(NetmapError) {
    _ = try provider.answer(.setHeader(name, length: length))
  }

  /// Bytes of the virtio-net header before each frame of a port: 0, 10 or 12 (`PORT_HDR_GET`).
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is no such port, `ENODEV` for a pipe that does not exist.
  public func virtioNetHeader(of name: PortName) throws(NetmapError) -> Int {
    try provider.answer(.header(name)).headerLength
  }

  /// Every port of every switch, by switch and port index.
  ///
  /// - Throws: ``NetmapError`` when the engine cannot be reached.
  public func all() throws(NetmapError) -> [Entry] {
    var result: [Entry] = []
    var (vale, port) = (0, 0)
    while true {
      do throws(NetmapError) {
        let found = entry(try provider.answer(.next(switch: vale, port: port)))
        result.append(found)
        (vale, port) = (found.switchIndex, found.portIndex + 1)
      } catch {
        guard error.code == .noSuchEntry else { throw error }
        return result
      }
    }
  }

  /// Makes threads poll the rings of an attached interface continuously instead of sleeping until packets
  /// arrive: lower latency, at the cost of whole CPUs.
  ///
  /// - Parameters:
  ///   - name: `valeSWITCH:INTERFACE`.
  ///   - cpus: The CPUs that the threads run on.
  /// - Throws: ``NetmapError``: `EINVAL` for CPUs or rings that do not exist, or if no CPU would be left for
  ///   other work; `ENXIO` when there is no such port, `EOPNOTSUPP` for a port that is not an interface,
  ///   `EFAULT` when the interface is polled already.
  public func poll(_ name: PortName, on cpus: PollingCPUs) throws(NetmapError) {
    _ = try provider.answer(.polling(name, cpus))
  }

  /// Stops polling an attached interface.
  ///
  /// - Throws: ``NetmapError`` as ``poll(_:on:)``, and `EFAULT` when the interface is not polled.
  public func stopPolling(_ name: PortName) throws(NetmapError) {
    _ = try provider.answer(.polling(name, nil))
  }

  private func entry(_ answer: SwitchAnswer) -> Entry {
    Entry(
      name: answer.name, switchIndex: answer.switchIndex, portIndex: answer.portIndex,
      remarks: answer.remarks)
  }

  private func information(_ answer: SwitchAnswer) -> Information {
    Information(
      geometry: answer.geometry, memoryID: answer.memoryID, memorySize: answer.memorySize)
  }
}

extension PortEngine {
  /// The engine's switches.
  public var switches: Switches { Switches(access.provider) }
}
